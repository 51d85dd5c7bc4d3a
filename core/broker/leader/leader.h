/*
 * The leading side of replication: the followers' connections, what is sent to whom, how far `peers` may rise, and who
 * ought to be in the synced set.
 *
 * A connection goes HELLO, WELCOME, PROMISE (broker/wire/wire.h). From then on the follower asks for
 * topics, and the leader sends each as far as topic_shippable says: batches as they stand in the files, read from the
 * page cache, so a follower that is slow costs one buffer of bounded size. A connection belongs to one epoch: it is
 * closed when that ends, so no acknowledgement of it can be taken for one of the next [m].
 *
 * Everything acts in leader_receive and leader_send, which the turn calls; in between only bytes arrive.
 */
#ifndef BROKER_LEADER_LEADER_H
#define BROKER_LEADER_LEADER_H

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
    const char *http;                /* our own address, as followers tell it to clients */
    uint64_t lag_max_ns;             /* how far behind in time a member may be */
};

struct leader *leader_new(const struct leader_options *o);
void leader_free(struct leader *l);
void leader_set_lag_max(struct leader *l, uint64_t lag_max_ns);

/* A connection at the replication port, whoever leads. The descriptor is taken over. */
void leader_accept(struct leader *l, int fd, const union address *from);

/* An epoch begins, and ends. */
void leader_begin(struct leader *l);
void leader_end(struct leader *l);

/* The synced set has changed, or one has been asked for or confirmed. */
void leader_recount(struct leader *l);

/* For topic_hooks. */
uint64_t leader_peers(struct leader *l, struct topic *t);
void leader_moved(struct leader *l, struct topic *t);
void leader_dropped(struct leader *l, struct topic *t);

/* Step 1: frames that have come. Step 4: what is due. */
void leader_receive(struct leader *l);
void leader_send(struct leader *l);

/* Called by a timer a few times a second: pings silent links, enforces deadlines, proposes changes of the synced set
 * (role_propose). True when something is not settled yet, so that the next tick should come soon. */
bool leader_tick(struct leader *l);

/* Up to max `wal` topics that have more to ship than Lua has let out. Their number. */
unsigned leader_unshipped(struct leader *l, struct topic **out, unsigned max);
bool leader_sealed(const struct leader *l);   /* has a topic among them sealed a file? */

/* How long live topics have been held up by a member that is gone and that `copies` keeps in the set; 0: they are
 * not. */
uint64_t leader_stalled_ns(const struct leader *l);

/* An audit has found damage here. */
void leader_damaged(struct leader *l);

/* Before an orderly end: sends followers all that is acknowledged here, whatever Lua has let out, and tells whether
 * every one that is connected has it. */
void leader_ship_all(struct leader *l);
bool leader_drained(const struct leader *l);

/* Can this node not go on leading, though nobody says so? A reason, or NULL. */
const char *leader_unfit(const struct leader *l);

struct peer_info {
    struct member member;
    const char *http, *address;
    bool connected, counted, caught_up, amnesiac;
    uint64_t lag_messages, lag_bytes;
    double lag_seconds;
    uint64_t shipped_bytes;
};
bool leader_peer(const struct leader *l, unsigned i, struct peer_info *out);   /* the i-th; false at the end */
uint64_t leader_shipped_bytes(const struct leader *l);

/* One follower's position in a topic; false at the end. */
struct feed_info {
    struct member member;
    uint64_t acked;
    bool counted;
};
bool leader_feed(const struct topic *t, unsigned i, struct feed_info *out);

#endif
