/*
 * What a node tells of itself as a member of the cluster (cluster_info), and how stale it may be.
 */
#include "base/clock.h"
#include "broker/cluster/cluster.h"
#include "broker/cluster/cluster_struct.h"

#define SURVEY_NS (20 * NS_PER_MS)
enum { SURVEY_PAUSE = 20 };          /* times what it took */

/* The summary for the status. It visits every topic, so it is made at most once in SURVEY_NS, and takes at most a 20th
 * of the time. Decisions use topics_holdings. */
static const struct survey *survey(struct cluster *c)
{
    struct survey *s = &c->survey;
    struct topic *t;
    uint64_t now = clock_ns();
    if (s->next_ns > now)
        return s;
    *s = (struct survey){.holdings = topics_holdings(c->topics)};
    for (size_t i = 0; (t = topics_at(c->topics, i)) != NULL; i++) {
        struct journal_info info;
        journal_info(t->journal, &info);
        s->messages += info.disk;
        s->time_ms = info.last_time_ms > s->time_ms ? info.last_time_ms : s->time_ms;
        if (info.epoch > s->epoch)
            s->epoch = info.epoch;
    }
    uint64_t took = clock_ns() - now;
    s->next_ns = now + took + (took * SURVEY_PAUSE > SURVEY_NS ? took * SURVEY_PAUSE : SURVEY_NS);
    return s;
}

/* A node that has known nothing since its start had all that there was when its newest message was published. */
int64_t cluster_staleness_ms(struct cluster *c)
{
    uint64_t now = clock_ns(), knew = follower_heard_ns(c->follower);
    if (c->leading && role_lease_valid(c->role, now))
        return -1;
    knew = c->led_ns > knew ? c->led_ns : knew;
    int64_t ms = knew > 0 ? (int64_t)((now - knew) / NS_PER_MS) : clock_wall_ms() - survey(c)->time_ms;
    return ms > 0 ? ms : 0;
}

bool cluster_eligible(struct cluster *c, const char **why)
{
    return role_eligible(c->role, &survey(c)->holdings, why);
}

void cluster_info(struct cluster *c, struct cluster_info *out)
{
    const struct survey *s = survey(c);
    *out = (struct cluster_info){
        .http = c->http, .replication = c->replication, .role = c->role, .leader = follower_leader(c->follower),
        .leader_http = follower_leader_http(c->follower),
        .holdings = s->holdings, .suspended = c->suspended, .confirmed_ns = c->role->confirmed_ns,
        .shipped_bytes = leader_shipped_bytes(c->leader), .elections = c->elections,
        .stalled_ns = leader_stalled_ns(c->leader),
        .position_epoch = s->epoch, .position_messages = s->messages,
    };
    follower_info(c->follower, &out->following);
    out->staleness_ms = cluster_staleness_ms(c);
}
