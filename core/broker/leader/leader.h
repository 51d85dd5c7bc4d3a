/*
 * The leading side of replication: the followers' connections, what is sent to whom, how far `peers` may rise, and
 * which nodes should be in the synced set.
 *
 *   leader.c       connections, epochs, the `peers` mark, the turn
 *   handshake.c    HELLO, WELCOME, PROMISE
 *   requests.c     what a ready follower asks and acknowledges
 *   barrier.c      whether the members still follow, for readers that must not read what is out of date
 *   call.c         what followers' scripts ask this node to do
 *   feed.c         one topic being sent to one follower
 *   membership.c   whose copies count, and proposals of another synced set
 *   peer.h         the state that they share
 *
 * Batches are sent as they stand in the files, read from the page cache, as far as topic_shippable says: a slow
 * follower costs one buffer of bounded size.
 *
 * leader_receive and leader_send, which the turn calls, do all of this; between them bytes arrive and nothing happens.
 */
#ifndef BROKER_LEADER_LEADER_H
#define BROKER_LEADER_LEADER_H

#include "broker/topic/reached.h"
#include "broker/topic/topics.h"
#include "net/address.h"
#include "net/link.h"
#include "net/tls.h"

struct leader;

struct leader_options {
    struct loop *loop;               /* outlives us, as do the others */
    struct role *role;
    struct topics *topics;
    const struct tls_context *tls;   /* NULL: there is no secret */
    const char *http;                /* where clients reach this node, for followers that forward to it */
    uint64_t lag_max_ns;             /* how far behind in time a member may be */
};

struct leader *leader_new(const struct leader_options *o);
void leader_free(struct leader *l);
void leader_set_lag_max(struct leader *l, uint64_t lag_max_ns);

/* Takes over a connection to the replication port, whether this node leads or not. */
void leader_accept(struct leader *l, int fd, const union address *from);

/* An epoch begins, and ends. */
void leader_begin(struct leader *l);
void leader_end(struct leader *l);

/* A change of the synced set was confirmed or ended: which copies count is worked out again in this turn, and `peers`
 * does not rise before. */
void leader_set_changed(struct leader *l);

/* A barrier (broker/leader/barrier.h): the mark reaches *want when the members have confirmed, after this call, that
 * they follow this node. Then leader_reached says how far it is; false: not all of what its epoch began with has taken
 * effect. */
struct mark *leader_barrier(struct leader *l, uint64_t *want);
bool leader_reached(struct leader *l, slice name, struct reached *out);

/* A call of a follower (broker/leader/call.h). Whoever takes one ends it by leader_answer_call, at any time; it sends
 * RETURN if the follower is still connected, with `how` of broker/wire/wire.h. */
struct called {
    struct list link;                /* in leader.arrived, until it is taken */
    struct list of_peer;
    struct peer *peer;               /* NULL: its connection has ended */
    uint64_t number;
    size_t size;
    struct buf what;                 /* owned */
    void (*on_left)(void *arg);      /* set by who took it; nobody waits for the answer any more. May be called twice */
    void *arg;
};
struct called *leader_take_call(struct leader *l);       /* NULL: there is none */
void leader_answer_call(struct called *c, unsigned how, slice answer);

/* For topic_hooks. */
uint64_t leader_peers(struct leader *l, struct topic *t);
void leader_moved(struct leader *l, struct topic *t);
void leader_dropped(struct leader *l, struct topic *t);

/* Step 1 of the turn: frames that have arrived. Step 4: sending. */
void leader_receive(struct leader *l);
void leader_send(struct leader *l);

/* Called by a timer a few times a second: pings silent links, enforces deadlines, proposes changes of the synced set
 * (role_propose). True when something is not settled yet, so that the next tick should come soon. */
bool leader_tick(struct leader *l);

/* Gets up to max `wal` topics that have more to ship than Lua has allowed, and returns their number. */
unsigned leader_unshipped(struct leader *l, struct topic **out, unsigned max);
bool leader_has_ship_news(const struct leader *l);   /* is there a first one, or has one sealed a file, since then? */

/* How long live topics have been waiting for a member that is gone and cannot be removed because of `copies`; 0: they
 * are not. */
uint64_t leader_stalled_ns(const struct leader *l);

/* An audit has found damage here. */
void leader_damaged(struct leader *l);

/* Before an orderly stop: lets followers be sent all that is acknowledged here, whatever Lua has allowed; then, whether
 * every member has it. A member that has been gone for RETURN_NS is not waited for. (A node that is no member could not
 * lead after this one.) */
void leader_ship_all(struct leader *l);
bool leader_drained(struct leader *l);

/* Why this node should stop leading by itself; NULL: it should not. */
const char *leader_unfit(const struct leader *l);

struct peer_info {
    struct member member;
    const char *http, *address;
    bool connected, counted, caught_up, amnesiac;
    uint64_t lag_messages, lag_bytes;
    double lag_seconds;
    uint64_t shipped_bytes;
};
bool leader_peer(struct leader *l, unsigned i, struct peer_info *out);   /* the i-th; false at the end */
uint64_t leader_shipped_bytes(const struct leader *l);

/* One follower's position in a topic. */
struct feed_info {
    struct member member;
    uint64_t acked;
    bool counted;
};
bool leader_feed(const struct topic *t, unsigned i, struct feed_info *out);   /* the i-th; false at the end */

#endif
