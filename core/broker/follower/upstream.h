/*
 * A follower's insides: the connection to the leader and the topics that come over it. The files of this folder
 * share this, and nobody else.
 */
#ifndef BROKER_FOLLOWER_UPSTREAM_H
#define BROKER_FOLLOWER_UPSTREAM_H

#include "base/say.h"
#include "broker/follower/follower.h"
#include "broker/wire/wire.h"

/* Between two tries with topics that could not be placed, though the connection is well. */
#define HELD_NS (2 * NS_PER_S)

enum upstream_phase { UPSTREAM_NONE, UPSTREAM_HELLO, UPSTREAM_READY };

struct follower {
    struct follower_options o;
    bool follows;
    struct leader_address leader;
    struct link *link;               /* owned; NULL: not connected */
    enum upstream_phase phase;
    uint64_t since_ns, heard_ns, spoken_ns, dial_at_ns, retry_ns;
    uint64_t told_ns;                /* when a leader whose epoch is promised was last heard; 0: never */
    unsigned lost;                   /* follower_leader_losses */
    bool refused, said;              /* said: the log knows that it cannot be reached */
    bool stuck;                      /* only an operator can say whose history counts: not dialled so soon */
    struct say_limit failures;       /* lines about connections that fail: somebody on the way can cause them */
    uint64_t unclean;                /* the leader's highest unclean epoch */
    bool log_placed;                 /* _topics is being sent */
    struct list unplaced;            /* topics without a slot */
    struct list held;                /* those that cannot be asked for yet, or not with success */
    uint64_t held_ns;                /* when they are asked for again */
    struct list unacked;             /* placed ones with something to acknowledge */
    struct topic **by_slot;          /* owned; NULL: it was dropped */
    uint32_t slots, slots_cap;
    uint64_t received_bytes, diverged_messages, refetched_files;
    struct {
        struct repair *repair;       /* NULL: none is under way */
        struct topic *topic;
        uint64_t first, position, asked_ns;
        uint64_t at_ns;              /* when to look for damage again, */
        size_t from;                 /* and with which topic, by place: one that cannot be mended holds up none */
    } refetch;
};

/* upstream.c */
void upstream_hello(struct follower *f);
void upstream_greet(struct follower *f, unsigned char type, slice payload);
void upstream_ask(struct follower *f, struct topic *t);
void upstream_hold(struct follower *f, struct topic *t);   /* for later */
void upstream_frame(struct follower *f, unsigned char type, slice payload);
void upstream_settle(struct follower *f);   /* from a timer: is this node's history the leader's by now? */

/* follower.c: hangs up and dials again later. */
void upstream_fail(struct follower *f, const char *why);

/* refetch.c */
void refetch_continue(struct follower *f);
void refetch_cancel(struct follower *f);
void refetch_topic_dropped(struct follower *f, struct topic *t);
void refetch_on_file(struct follower *f, struct wire *w);         /* FILE */
void refetch_on_differs(struct follower *f, struct wire *w);      /* DIFFERS */
void refetch_by_replicating(struct follower *f, struct topic *t, uint64_t first);
void refetch_soon(struct follower *f);                         /* damage has been found */
bool refetch_cut(struct follower *f, struct topic *t);     /* false: not yet */

#endif
