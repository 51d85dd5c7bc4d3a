/*
 * What a node tells of itself as a member of the cluster (cluster_info), and how stale it may be.
 */
#include "base/clock.h"
#include "broker/cluster/cluster.h"
#include "broker/cluster/cluster_struct.h"

/* A node that has known nothing since its start had all that there was when its newest message was published. */
int64_t cluster_staleness_ms(struct cluster *c)
{
    uint64_t now = clock_ns(), knew = follower_heard_ns(c->follower);
    if (c->leading && role_lease_valid(c->role, now))
        return -1;
    knew = c->led_ns > knew ? c->led_ns : knew;
    int64_t ms = knew > 0 ? (int64_t)((now - knew) / NS_PER_MS) : clock_wall_ms() - topics_newest_ms(c->topics);
    return ms > 0 ? ms : 0;
}

bool cluster_eligible(struct cluster *c, const char **why)
{
    struct holdings h = topics_holdings(c->topics);
    return role_eligible(c->role, &h, why);
}

void cluster_info(struct cluster *c, struct cluster_info *out)
{
    const struct topic_sums *sums = topics_sums(c->topics);
    *out = (struct cluster_info){
        .http = c->http, .replication = c->replication, .role = c->role, .leader = follower_leader(c->follower),
        .leader_http = follower_leader_http(c->follower),
        .holdings = topics_holdings(c->topics), .suspended = c->suspended, .confirmed_ns = c->role->confirmed_ns,
        .shipped_bytes = leader_shipped_bytes(c->leader), .elections = c->elections,
        .stalled_ns = leader_stalled_ns(c->leader),
        .position_epoch = sums->epoch, .position_messages = sums->messages,
    };
    follower_info(c->follower, &out->following);
    out->staleness_ms = cluster_staleness_ms(c);
}
