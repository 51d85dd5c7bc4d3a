/*
 * This node's part in a cluster: the role, and the two sides of replication that follow from it. There is one when
 * lignum.lua names a Consul; without it a node is alone and none of this exists.
 *
 * Scripts talk to Consul and tell here what it said (cluster_see, cluster_lead, cluster_follow); what may be written to
 * it comes from here (cluster_claim, cluster_pending_write). The rules are broker/election/role.h's.
 */
#ifndef BROKER_CLUSTER_CLUSTER_H
#define BROKER_CLUSTER_CLUSTER_H

#include "broker/follower/follower.h"
#include "broker/leader/leader.h"

struct cluster;

struct cluster_options {
    struct loop *loop;               /* outlives us, as do the next two */
    struct role *role;
    struct topics *topics;
    const char *http;                /* where clients reach this node; copied, as are the next three */
    const char *listen;              /* of the replication port: "127.0.0.1:8126" */
    const char *advertise;           /* what others are told of it; "": what is listened on */
    slice secret;                    /* empty: none */
    bool insecure;                   /* replicate without one */
    uint64_t lease_ns, lag_max_ns;
};

/* Opens the replication port. May wait for a name. 0, or an error with a sentence in `why`. */
int cluster_new(const struct cluster_options *o, struct cluster **out, struct buf *why);
void cluster_free(struct cluster *c);
void cluster_set_limits(struct cluster *c, uint64_t lease_ns, uint64_t lag_max_ns);

/* Before anything that has come is looked at: was this process away for so long that somebody else may lead by now?
 * Then nothing is acknowledged before Consul has been asked. */
void cluster_awake(struct cluster *c);

/* Steps 1 and 4 of the turn. */
void cluster_receive(struct cluster *c);
void cluster_send(struct cluster *c);

/* For auditor_options. */
void cluster_audited(void *cluster, struct topic *t, const struct file_info *file, int rc);

/* ---- what scripts say and ask ---- */

/* `asked_ns`: clock_ns() when the read was begun; an answer that has been overtaken is told apart from a register that
 * went back in time, and changes nothing (then *stale). */
enum verdict cluster_see(struct cluster *c, const struct synced_register *v, uint64_t index, uint64_t asked_ns,
                         bool *stale);

/* As role_claim and role_lead. */
int cluster_claim(struct cluster *c, enum claim_kind kind, struct synced_register *out, const char **why);
int cluster_lead(struct cluster *c, const struct synced_register *v, uint64_t index);
void cluster_resign(struct cluster *c, const char *why);

/* Before a leader hands over: nothing more is appended while it leads, and what it holds goes to the followers. The
 * mark rises by one when every member has it all (leader_drained), and fails with -ERR_NOT_LEADER when this node ceases
 * to lead before. `stopping`: this node appends nothing any more. */
struct mark *cluster_drain(struct cluster *c, bool stopping);
bool cluster_draining(const struct cluster *c);

/* Whom the register and the lock name; NULL: nobody. Not while leading. */
void cluster_follow(struct cluster *c, const struct leader_address *leader);

/* Grows, and changes with it (cluster_changes), when what was sent to the leader before need not be waited for
 * (follower_leader_losses). */
unsigned cluster_leader_losses(const struct cluster *c);

/* As role_pending_write: what is to be written to the register, until it is seen to say that. */
const struct synced_register *cluster_pending_write(const struct cluster *c);

/* Rises with every change of what can be asked here, and when a `wal` topic has sealed a file that Lua may ship. */
struct mark *cluster_changes(struct cluster *c);
struct mark *cluster_seals(struct cluster *c);

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
