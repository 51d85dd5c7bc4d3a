/*
 * The leading side's state: the leader, and a peer for each follower's connection. Only the files of this room include
 * this.
 *
 * A peer goes through these phases:
 *
 *   PEER_HELLO     it has connected, inside TLS. HELLO is answered by WELCOME  -> PEER_PROMISE
 *   PEER_PROMISE   PROMISE says that this epoch is promised, on its disk       -> PEER_READY
 *   PEER_READY     it asks for topics, is sent them, and acknowledges (broker/leader/requests.c, feed.c)
 *
 * `closing` is set by peer_refuse, by a REFUSE frame, by a newer connection of the same node, or when the link ends;
 * the next leader_receive frees the peer. A connection belongs to one epoch: leader_end closes all but those in
 * PEER_HELLO, so an acknowledgement of one epoch cannot be taken for one of the next [m].
 *
 * `counted` is as of the last recount (membership.c): the peer is ready, not closing, not amnesiac, and in a set that
 * counts. An event that may change it sets leader.recount; until membership_recount has run, `peers` marks do not rise.
 */
#ifndef BROKER_LEADER_PEER_H
#define BROKER_LEADER_PEER_H

#include "base/say.h"
#include "broker/topic/topics.h"
#include "net/address.h"
#include "net/link.h"
#include "net/tls.h"

struct feed;

enum peer_phase { PEER_HELLO, PEER_PROMISE, PEER_READY };

/* How far a peer is behind in all topics together, at some moment. */
struct peer_lag {
    uint64_t messages, bytes;
    double seconds;
    uint64_t next_ns;                /* when it is added up again */
};

struct peer {
    struct list all;                 /* in leader.peers */
    struct leader *leader;           /* outlives us */
    struct link *link;               /* owned */
    enum peer_phase phase;
    char address[ADDRESS_TEXT_MAX];
    char http[NODE_ADDRESS_MAX + 1];
    struct member member;            /* from HELLO on */
    bool amnesiac;                   /* its copies count nowhere until it has caught up */
    bool counted;
    bool caught_up;                  /* in everything, when last looked */
    bool closing;
    uint64_t since_ns;               /* when it connected */
    uint64_t heard_ns, spoken_ns;    /* when a frame last came, and was last sent */
    bool told_suspended;             /* what the last PING said */
    struct feed **by_slot;           /* owned; NULL: not asked for, or dropped */
    uint32_t slots;                  /* places in by_slot */
    uint32_t last_slot;              /* the highest that it has given out */
    size_t started;                  /* feeds: those of all topics, when all is well */
    size_t looked_at;                /* else: the next topic that is looked at whether it is one of them */
    struct list dirty;               /* feeds that may have something to send */
    struct list told_later;          /* feeds with nothing to send but marks */
    struct list behind;              /* feeds that have not acknowledged all of their topics: of a million, few */
    struct peer_lag lag;             /* what these make together */
    uint64_t tell_ns;                /* when those are due; 0: there are none */
    struct list barriers;            /* its barriers that are not answered yet (barrier.c) */
    unsigned barrier_count;
    struct list calls;               /* its calls that are not answered yet (call.c) */
    unsigned call_count;
    size_t call_bytes;
    uint64_t confirm_sent, confirmed;   /* numbers of the last CONFIRM to it, and of its last CONFIRMED */
    int64_t credit;                  /* bytes that may be sent now while it is not counted */
    uint64_t credit_ns;              /* as of then */
    uint64_t shipped_bytes;
};

/* A member of the set that is not connected, and since when. */
struct absent {
    struct member member;
    uint64_t since_ns;
    bool expected;                   /* this epoch has just begun, and the member may not know yet */
};

/*
 * It leads from leader_begin to leader_end. While it does not, connections are accepted, so that HELLO can be refused
 * with a reason, and nothing else is done.
 */
struct leader {
    struct loop *loop;               /* outlives us, as do the next three */
    struct role *role;
    struct topics *topics;
    const struct tls_context *tls;   /* NULL: there is no secret */
    const char *http;                /* leader_options.http */
    uint64_t lag_max_ns;
    bool leading;
    struct list peers;
    unsigned peer_count;
    bool recount;                    /* `counted` and `missing` may be out of date */
    unsigned counted, missing;       /* peers whose copies count; members that ought to count and are not here */
    struct absent absent[MEMBERS_MAX];
    unsigned absent_count;
    struct mark confirmed;           /* questions that all members that count have answered (confirm.h) */
    uint64_t confirms;               /* the number of the last question */
    bool confirm_wanted;             /* the next turn asks another one */
    struct list arrived;             /* calls of followers that nobody has taken yet (call.h) */
    struct list unshipped;           /* topics */
    bool ship_news;                  /* one of them sealed a file, or was the first */
    bool damaged;                    /* something that is to be sent cannot be read */
    uint64_t stalled_ns;             /* since when a member that is gone cannot be removed from the set; 0: none */
    uint64_t shipped_bytes;
    /* Lines that a peer can cause as often as it likes: */
    struct say_limit refusals;       /* about peers that are refused */
    struct say_limit moves;          /* about followers that connect, leave, and join or leave the set */
    struct say_limit faults;         /* about what a follower has or asks for */
    struct watch pace;               /* ends the sleep when marks are due, or credit has come back */
};

/* Sends REFUSE with this reason, logs it, and marks the peer as closing. */
void peer_refuse(struct peer *p, const char *why);

#endif
