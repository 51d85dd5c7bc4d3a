/*
 * This node as a member of a cluster: its role, and the leading and following sides of replication, of which the role
 * decides. It exists only if lignum.lua names a Consul.
 *
 * Scripts talk to Consul. They report what Consul said (cluster_see, cluster_lead, cluster_follow), and write to it
 * only what cluster_claim and cluster_pending_write return. The rules are in broker/election/role.h.
 */
#ifndef BROKER_CLUSTER_CLUSTER_H
#define BROKER_CLUSTER_CLUSTER_H

#include "broker/follower/follower.h"
#include "broker/leader/leader.h"

struct cluster;
struct node_call;

struct cluster_options {
    struct loop *loop;               /* outlives us, as do the next two */
    struct role *role;
    struct topics *topics;
    const char *http;                /* where clients reach this node; copied, as are the next three */
    const char *listen;              /* of the replication port: "127.0.0.1:8126" */
    const char *advertise;           /* the address that other nodes are told; "": `listen` */
    slice secret;                    /* empty: none */
    bool insecure;                   /* replicate without one */
    uint64_t lease_ns, lag_max_ns;
};

/* Opens the replication port. May wait for the resolution of a name. 0, or an error with a sentence in `why`. */
int cluster_new(const struct cluster_options *o, struct cluster **out, struct buf *why);
void cluster_free(struct cluster *c);
void cluster_set_limits(struct cluster *c, uint64_t lease_ns, uint64_t lag_max_ns);

/* Call at the beginning of a turn, before input is handled. If this process did not run for more than half of the
 * lease, another node may lead by now: then nothing is acknowledged before Consul has confirmed the claim again. */
void cluster_awake(struct cluster *c);

/* Steps 1 and 4 of the turn. */
void cluster_receive(struct cluster *c);
void cluster_send(struct cluster *c);

/* While this node follows: as follower_tell_uses. */
void cluster_tell_uses(struct cluster *c, uint64_t now_ns);

/* For auditor_options. */
void cluster_audited(void *cluster, struct topic *t, const struct file_info *file, int rc);

/* ---- for scripts ---- */

/* As role_see. `asked_ns`: clock_ns() when the read was begun. *stale: something newer has been learned since then, so
 * the answer changes nothing; it does not mean that the register went back. */
enum verdict cluster_see(struct cluster *c, const struct synced_register *v, uint64_t index, uint64_t asked_ns,
                         bool *stale);

/* As role_claim and role_lead. */
int cluster_claim(struct cluster *c, enum claim_kind kind, struct synced_register *out, const char **why);
int cluster_lead(struct cluster *c, const struct synced_register *v, uint64_t index);
void cluster_resign(struct cluster *c, const char *why);

/* Call before a leader hands over: it appends nothing more while it leads, and sends what it has to the followers. The
 * mark rises by one when every member has everything (leader_drained), and fails with -ERR_NOT_LEADER if this node
 * stops leading before. `stopping`: this node never appends again. */
struct mark *cluster_drain(struct cluster *c, bool stopping);
bool cluster_draining(const struct cluster *c);

/* Follows the node that the register and the lock name; NULL: none. Without effect while this node leads. */
void cluster_follow(struct cluster *c, const struct leader_address *leader);

/* As follower_leader_losses; cluster_changes rises with it. */
unsigned cluster_leader_losses(const struct cluster *c);

/* As role_pending_write. */
const struct synced_register *cluster_pending_write(const struct cluster *c);

/* `changes` rises when anything that this header can report has changed; `ship_news` when a `wal` topic has sealed a
 * file that Lua may ship, or is the first one with something to ship. */
struct mark *cluster_changes(struct cluster *c);
struct mark *cluster_ship_news(struct cluster *c);

/* A barrier of a topic begins (script/topic/l_barrier.c): it goes on when *mark reaches *want. `number` is 0 on a
 * leader, where cluster_reached_here then says how far it is, and on a follower what to ask cluster_reached by. 0;
 * -ERR_NO_LEADER; -ERR_BUSY. */
int cluster_barrier(struct cluster *c, slice name, struct mark **mark, uint64_t *want, uint64_t *number);
bool cluster_reached(struct cluster *c, uint64_t number, struct reached *out);
bool cluster_reached_here(struct cluster *c, slice name, struct reached *out);

/* While this node follows: as follower_call; -ERR_NO_LEADER while it does not. While it leads: as leader_take_call. */
int cluster_call(struct cluster *c, slice what, struct node_call *call);
struct called *cluster_take_call(struct cluster *c);

bool cluster_eligible(struct cluster *c, const char **why);

/* How long ago this node last knew that it had what the cluster has: it heard the leader that it follows, or Consul
 * vouched for it as the leader. Negative: it leads now, and its lease is valid. */
int64_t cluster_staleness_ms(struct cluster *c);

struct cluster_info {
    const char *http, *replication;
    const struct role *role;
    const struct leader_address *leader;   /* whom this node follows; NULL: nobody */
    const char *leader_http;         /* follower_leader_http */
    struct follower_info following;
    struct holdings holdings;
    bool suspended;
    int64_t staleness_ms;            /* cluster_staleness_ms */
    uint64_t confirmed_ns;
    uint64_t stalled_ns;             /* leader_stalled_ns */
    uint64_t position_epoch, position_messages;
    uint64_t shipped_bytes, elections;
};
void cluster_info(struct cluster *c, struct cluster_info *out);
struct leader *cluster_leader(struct cluster *c);

#endif
