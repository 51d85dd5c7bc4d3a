/*
 * The following side's state: the connection to the leader, and the topics that come over it. Only the files of this
 * room include this.
 *
 * The connection goes through these phases:
 *
 *   UPSTREAM_NONE    there is none; follower_tick dials at dial_at_ns while a leader is followed -> UPSTREAM_HELLO
 *   UPSTREAM_HELLO   HELLO is sent. WELCOME names the leader and its epoch, which is promised on disk -> UPSTREAM_READY
 *   UPSTREAM_READY   topics are asked for, _topics before all others, and arrive
 *
 * Whatever ends a connection calls upstream_fail, which only records the reason. The entry of the turn that was called
 * (follower_receive, follower_send, follower_tick) then hangs up and sets when to dial again. Between the two, `failed`
 * is set and nothing more is taken from the link. follower_follow hangs up without a failure.
 *
 * Hanging up makes every topic `unplaced` (topic.follow, broker/topic/topic.h):
 *
 *   unplaced -> asked    reconcile_ask sends POSITION
 *   unplaced -> held     reconcile_ask: the topic has to be cut first, and cannot be yet
 *   asked -> asked       POINT names another epoch: reconcile_point sends POSITION again
 *   asked -> held        POINT cannot be used yet: the leader's topic or ours is damaged, or a cut is being prepared
 *   asked -> placed      the histories agree up to our tail, after a cut where they did not: START is sent
 *   held -> unplaced     follower_send, every HELD_NS, or sooner where the disk thread only has to finish
 */
#ifndef BROKER_FOLLOWER_UPSTREAM_H
#define BROKER_FOLLOWER_UPSTREAM_H

#include "base/clock.h"
#include "base/say.h"
#include "broker/topic/reached.h"
#include "broker/topic/topics.h"
#include "broker/wire/wire.h"

#define HELD_NS (2 * NS_PER_S)
#define BUSY_NS (50 * NS_PER_MS)     /* the same for a topic of which the disk thread has work to do first */

enum upstream_phase { UPSTREAM_NONE, UPSTREAM_HELLO, UPSTREAM_READY };

struct follower {
    struct loop *loop;               /* outlives us, as do the next four */
    struct role *role;
    struct topics *topics;
    const struct tls_context *tls;   /* NULL: there is no secret */
    const char *http;                /* our own address, for the leader to tell */
    bool follows;
    struct leader_address leader;    /* whom, while it follows */
    char leader_http[NODE_ADDRESS_MAX + 1];   /* follower_leader_http */
    struct link *link;               /* owned; NULL in UPSTREAM_NONE */
    enum upstream_phase phase;
    bool failed;                     /* upstream_fail was called, and the link is still there */
    char why[128];                   /* then: the reason */
    bool refused;                    /* nobody listened at the leader's address when it was last dialled */
    char said[128];                  /* the reason that the log names already for there being no connection */
    bool stuck;                      /* only an operator can say whose history counts: it is dialled less often */
    /* Lines that a leader, or a node on the path to it, can cause as often as it likes: */
    struct say_limit failures;       /* about connections that fail */
    struct say_limit moves;          /* about what is followed, and topics that begin again or are cut */
    struct say_limit faults;         /* about what cannot be compared, repaired or stored */
    uint64_t since_ns;               /* when this connection was dialled */
    uint64_t heard_ns, spoken_ns;    /* when a frame last came, and was last sent */
    uint64_t dial_at_ns, retry_ns;   /* when to dial next; the pause before that */
    bool waits;                      /* the last frame is taken again in a later turn, when the disk thread is done */
    bool suspended;                  /* the leader says that Consul does not confirm it: another one may lead */
    uint64_t leader_heard_ns;        /* when a leader whose epoch is promised, and which was not suspended, was last
                                        heard; 0: never */
    unsigned leader_losses;          /* follower_leader_losses */
    uint64_t unclean;                /* the highest unclean epoch of the register that was promised by */
    uint64_t version;                /* of the leader's register, when it said WELCOME */
    bool log_placed;                 /* _topics is being sent */
    struct list unplaced, held;      /* topics */
    size_t placed;                   /* topics that are */
    uint64_t held_ns;                /* when those in `held` are asked for again */
    uint64_t barriers;               /* the number of the last one (barrier.c) */
    struct mark answered;            /* all below and this one are */
    struct reached *reached;         /* owned; the answers, by number % BARRIERS_MAX */
    struct list calls;               /* that the leader has not answered (call.c) */
    uint64_t calls_sent;             /* the number of the last one */
    unsigned calls_open;
    size_t calls_bytes;              /* of those that are open */
    struct list unacked;             /* topics that are placed and have something to acknowledge */
    struct topic **by_slot;          /* owned; NULL: it was dropped */
    uint32_t slots, slots_cap;
    uint64_t received_bytes, diverged_messages, refetched_files;
    struct refetch {                 /* refetch.h */
        struct repair *repair;       /* NULL: none is under way */
        struct topic *topic;
        bool ending;                 /* all pieces are there */
        uint64_t first, position;    /* of the file, and in it */
        uint64_t asked_ns;           /* when the last piece was asked for */
        uint64_t at_ns;              /* when to look for damage again */
        size_t from;                 /* and at which topic, by place: one that cannot be repaired holds up no other */
    } refetch;
};

/* The connection is to end, for this reason. */
void upstream_fail(struct follower *f, const char *why);

/* REFUSE: the leader's reason becomes ours. */
void upstream_refused(struct follower *f, slice payload);

struct topic *upstream_topic(const struct follower *f, uint32_t slot);   /* or NULL */

/* Moves a topic to `held`, and has those there asked for again after this time at the latest. */
void upstream_hold(struct follower *f, struct topic *t, uint64_t ns);

/* Whether this error says that a disk is full. Then the topic is held, which is said once, and the others go on: what
 * would be cut is not kept yet. */
bool is_no_room(int rc);
void upstream_hold_without_room(struct follower *f, struct topic *t);

#endif
