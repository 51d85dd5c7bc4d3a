/*
 * A feed is one topic on its way to one follower, at the leader.
 */
#ifndef BROKER_LEADER_FEED_H
#define BROKER_LEADER_FEED_H

#include "broker/topic/topic.h"

struct peer;

struct feed {
    struct list of_topic;          /* in topic.feeds */
    struct list dirty;             /* in peer.dirty while there may be something to send */
    struct peer *peer;             /* outlives us */
    struct topic *topic;           /* outlives us */
    uint32_t slot;                 /* the follower's number for it */
    bool started;                  /* it has told from where on */
    bool stuck;                    /* what comes next is damaged here */
    uint64_t sent;                 /* offsets below have been sent, */
    uint64_t written, disk;        /* and these acknowledged, each as what it is */
    uint64_t reached;              /* feed_acked when last looked at */
    uint64_t told_readable, told_peers;
    uint64_t goal, goal_ns;        /* the tail, and when that was; reached: no lag older than that */
    uint64_t caught_ns;            /* when `goal` was last reached */
};

/* How far it has the topic in the sense in which the topic acknowledges, by this node's settings: the follower may go
 * by older ones for a moment. */
static inline uint64_t feed_acked(const struct feed *f)
{
    return f->topic->settings.durability == DURABILITY_COMMIT ? f->disk : f->written;
}

#endif
