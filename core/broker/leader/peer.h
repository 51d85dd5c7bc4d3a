/*
 * A follower as its leader knows it: the connection, the greeting, and its feeds. broker/leader/leader.c and its files
 * (handshake.c, feed.c, membership.c) share this, and nobody else.
 */
#ifndef BROKER_LEADER_PEER_H
#define BROKER_LEADER_PEER_H

#include "base/say.h"
#include "broker/leader/feed.h"
#include "broker/leader/leader.h"
#include "broker/wire/wire.h"

enum peer_phase { PEER_HELLO, PEER_PROMISE, PEER_READY };

struct peer {
    struct list all;                 /* in leader.peers */
    struct leader *leader;           /* outlives us */
    struct link *link;               /* owned */
    enum peer_phase phase;
    char address[ADDRESS_TEXT_MAX];
    char http[NODE_ADDRESS_MAX + 1];
    struct member member;            /* from HELLO on */
    bool amnesiac;                   /* its copies count nowhere until it has caught up */
    bool counted;                    /* its copies count now (leader_recount) */
    bool caught_up;                  /* in everything, when last looked */
    bool doomed;                     /* to be dropped by the turn */
    uint64_t since_ns;               /* when it connected */
    uint64_t heard_ns, spoken_ns;
    struct feed **by_slot;           /* owned; NULL: not asked for, or dropped */
    uint32_t slots;                  /* places in by_slot */
    uint32_t last_slot;              /* that it has given out */
    size_t started;                  /* feeds: those of all topics, when all is well */
    struct list dirty;
    struct list told_later;          /* feeds with nothing to send but marks */
    uint64_t tell_ns;                /* when those are due; 0: there are none */
    int64_t credit;                  /* bytes that may be sent now while it is not counted */
    uint64_t credit_ns;              /* as of then */
    uint64_t shipped_bytes;
};

/* A member of the set that is not here, and since when. */
struct absent {
    struct member member;
    uint64_t since_ns;
    bool expected;                   /* this epoch has just begun, and it may not know yet */
};

struct leader {
    struct leader_options o;
    bool leading;
    struct list peers;
    unsigned peer_count;
    unsigned counted, missing;       /* peers whose copies count; members that ought to and are not here */
    struct absent absent[MEMBERS_MAX];
    unsigned absent_count;
    struct list unshipped;           /* topics */
    bool sealed;                     /* one of them sealed a file */
    bool damaged;                    /* something that is to be sent cannot be read */
    const char *outdated;            /* a follower knows of a newer epoch or register: how */
    uint64_t stalled_ns;             /* since when a member that is gone cannot be asked out; 0: it is not so */
    uint64_t shipped_bytes;
    struct say_limit refusals;       /* lines about peers that are not ready */
    struct watch pace;               /* ends the sleep when there is credit again */
};

/* handshake.c: frames of a peer that is not ready yet. */
void handshake_frame(struct peer *p, unsigned char type, slice payload);
void peer_refuse(struct peer *p, const char *why);   /* says it, to the log too, and dooms it */

/* leader.c */
void leader_arrived(struct leader *l, struct peer *p);           /* it has promised */

/* membership.c */
void absent_begin(struct leader *l);                             /* an epoch: nobody is here yet */
void absent_forget(struct leader *l);                            /* those who do not count any more */
void absent_arrived(struct leader *l, const struct member *m);
void absent_left(struct leader *l, const struct peer *p);

/* feed.c */
void peer_frame(struct peer *p, unsigned char type, slice payload);   /* of a ready one */
void peer_send(struct peer *p);
void feed_free(struct feed *f);
void feed_moved(struct feed *f);      /* there may be something to send, or to wait for */
void peer_caught_up(struct peer *p);  /* looks anew */
struct feed *peer_feed(const struct peer *p, struct topic *t);   /* NULL: it has not asked for it */

#endif
