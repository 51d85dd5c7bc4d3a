/*
 * The inside of a cluster, for the files of this folder. Others see cluster.h.
 */
#ifndef BROKER_CLUSTER_CLUSTER_STRUCT_H
#define BROKER_CLUSTER_CLUSTER_STRUCT_H

#include "broker/follower/follower.h"
#include "broker/leader/leader.h"
#include "net/acceptor.h"

/*
 * States:
 *     following   !leading              another node leads, or none does
 *     leading     leading, !suspended   messages are appended, and acknowledged while the lease is valid
 *     suspended   leading, suspended    nothing is acknowledged until Consul has confirmed the claim again
 * Only act_on_role and act_on_lease (cluster.c) move it, after the role or its lease has changed. `draining` is set by
 * cluster_drain on a leader: it appends nothing more, until every member has everything, or it leads no more.
 */
struct cluster {
    struct loop *loop;               /* outlives us */
    struct role *role;               /* outlives us */
    struct topics *topics;           /* outlives us */
    struct leader *leader;           /* owned */
    struct follower *follower;       /* owned */
    struct tls_context *tls;         /* owned; NULL: replication is plain */
    struct acceptor acceptor;        /* of the replication port */
    char http[NODE_ADDRESS_MAX + 1], replication[NODE_ADDRESS_MAX + 1];
    struct topic_hooks hooks;
    struct watch tick;
    bool due;                        /* the timer has fired: tick in this turn */
    bool leading, suspended;         /* the state that the last act_on_role and act_on_lease have acted on */
    unsigned connection, lost;       /* of the follower, when `changes` last rose for them */
    uint64_t turned_ns;              /* when the last turn was */
    uint64_t led_ns;                 /* when Consul last vouched for this node as the leader; 0: never */
    uint64_t elections;              /* that this node has won */
    bool draining;
    struct mark changes, ship_news, drains;
};

#endif
