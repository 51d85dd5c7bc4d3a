/*
 * A feed sends one topic to one follower. It exists from the follower's first POSITION for the topic until the
 * connection ends or the topic is deleted.
 *
 *   asked     POSITION is answered; nothing is sent                 START (requests.c) -> started
 *   started   first `senders` is sent, where the log begins above 0 and so does the follower; then batches, as far as
 *             topic_shippable. It is in peer.dirty while it may have something to send, and in peer.told_later while it
 *             has nothing to send but marks
 *   stuck     the batch at `sent` cannot be read here; final. The follower connects again, to this leader or the next
 *
 * disk <= written <= sent: a follower that acknowledges more than it was sent is refused.
 *
 * It is in peer.behind while the follower lacks something that the topic had when its marks were last settled.
 */
#ifndef BROKER_LEADER_FEED_H
#define BROKER_LEADER_FEED_H

#include "broker/leader/peer.h"

struct feed {
    struct list of_topic;          /* in topic_lead.feeds */
    struct list dirty;             /* in peer.dirty or peer.told_later */
    struct list behind;            /* in peer.behind */
    struct peer *peer;             /* outlives us */
    struct topic *topic;           /* outlives us */
    uint32_t slot;                 /* the follower's number for it */
    bool started, stuck;
    uint64_t sent;                 /* offsets below this have been sent */
    struct buf senders;            /* owned; what is to be sent of SENDERS */
    uint64_t written, disk;        /* the follower's marks, as it acknowledged them */
    uint64_t reached;              /* feed_acked when last looked at */
    uint64_t told_readable, told_peers;   /* our marks, as we last told it */
    uint64_t goal, goal_ns;        /* the tail at some moment, and when that was */
    uint64_t caught_ns;            /* it has reached everything that was there at this time */
};

struct feed *feed_new(struct peer *p, struct topic *t, uint32_t slot);
void feed_free(struct feed *f);

struct feed *feed_find(const struct peer *p, struct topic *t);    /* NULL: the peer has not asked for this topic */
struct feed *feed_at(const struct peer *p, uint32_t slot);        /* or NULL */

/* How far the follower has the topic, by the mark at which this node's settings acknowledge. The follower may use older
 * settings for a moment. */
static inline uint64_t feed_acked(const struct feed *f)
{
    return f->topic->settings->durability == DURABILITY_COMMIT ? f->disk : f->written;
}

/* Sending begins where the follower ends. */
void feed_start(struct feed *f, uint64_t tail, uint64_t disk);

/* The follower has acknowledged something new. */
void feed_note_lag(struct feed *f, uint64_t now);

/* The topic's marks have moved: there may be something to send. */
void feed_moved(struct feed *f);

/* Sends what is due to this peer, as far as the link and its credit allow. */
void feeds_send(struct peer *p);

/* Does the peer have all that this epoch began with, and all that every member has? Sets peer.caught_up. */
bool feeds_caught_up(struct peer *p);

#endif
