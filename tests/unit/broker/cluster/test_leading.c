/* A leader's lease, what it tells those who wait, and what a new one shows. */
#include "unit/broker/cluster/diverge_rig.h"

static int told;

static void on_woken(struct waiter *w, int rc)
{
    (void)w;
    told = rc;
}

/* A live topic with a message that the follower does not sync, and somebody who waits for it. */
static struct topic *publish_and_wait(struct node *a, struct waiter *w)
{
    struct topic *t = make_live(a, "t");
    rig.nodes[1].syncs_not = true;
    publish(t, 1, 100);
    *w = (struct waiter){.wake = on_woken};
    told = 1;
    mark_wait(topic_ack_mark(t), w, 1);
    return t;
}

TEST(test_whoever_waits_when_leading_ends_is_told_that_it_is_not_known)
{
    rig_up(2);
    struct node *a = &rig.nodes[0];
    struct waiter w;
    struct topic *t = publish_and_wait(a, &w);
    turn_for(50);
    CHECK_EQ(told, 1);
    cluster_resign(a->cluster, "the test says so");
    CHECK_EQ(told, -ERR_UNKNOWN_OUTCOME);
    CHECK_EQ(try_publish(t, 100, "late"), -ERR_NOT_LEADER);
    WAIT_UNTIL(!is_connected(&rig.nodes[1]));        /* a connection does not outlive its epoch */
    rig_down();
}

TEST(test_without_a_confirmation_for_a_lease_nothing_is_acknowledged)
{
    rig_up(2);
    struct node *a = &rig.nodes[0];
    struct waiter w;
    struct topic *t = publish_and_wait(a, &w);
    rig.consul_away = true;
    cluster_set_limits(a->cluster, 100 * NS_PER_MS, rig.lag_max_ns);
    turn_for(500);
    CHECK_EQ(told, -ERR_UNKNOWN_OUTCOME);
    CHECK_EQ(try_publish(t, 100, "late"), -ERR_UNCONFIRMED);
    CHECK_EQ(a->role.kind, ROLE_LEADER);
    CHECK_EQ(node_see(a), VERDICT_OURS);
    CHECK_EQ(try_publish(t, 100, "again"), 0);
    rig_down();
}

/* Another node may lead by then, so its followers do not know either. */
TEST(test_a_follower_of_a_leader_that_is_not_confirmed_is_stale)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    turn_for(100);
    CHECK(cluster_staleness_ms(a->cluster) < 0);
    CHECK(cluster_staleness_ms(b->cluster) < 2 * PING_MS);
    cluster_set_limits(a->cluster, 100 * NS_PER_MS, rig.lag_max_ns);
    turn_for(4 * PING_MS);
    CHECK(is_connected(b));
    CHECK(cluster_staleness_ms(a->cluster) >= 4 * PING_MS);
    CHECK(cluster_staleness_ms(b->cluster) >= 2 * PING_MS);
    cluster_set_limits(a->cluster, 60 * NS_PER_S, rig.lag_max_ns);
    CHECK_EQ(node_see(a), VERDICT_OURS);
    WAIT_UNTIL(cluster_staleness_ms(b->cluster) < PING_MS);
    CHECK(cluster_staleness_ms(a->cluster) < 0);
    rig_down();
}

/* What Consul said before this process was stopped may lie in the socket when it goes on. */
TEST(test_an_answer_from_before_a_leader_was_away_does_not_confirm_it)
{
    rig_up(2);
    struct node *a = &rig.nodes[0];
    struct topic *t = make_live(a, "t");
    bool stale;
    cluster_set_limits(a->cluster, 200 * NS_PER_MS, rig.lag_max_ns);
    CHECK_EQ(node_see(a), VERDICT_OURS);
    CHECK_EQ(try_publish(t, 100, "before"), 0);
    uint64_t asked_ns = clock_ns();
    usleep(150 * 1000);
    node_turn(a);
    CHECK_EQ(cluster_see(a->cluster, &rig.reg, rig.index, asked_ns, &stale), VERDICT_OURS);
    CHECK(!stale);
    CHECK_EQ(try_publish(t, 100, "late"), -ERR_UNCONFIRMED);
    CHECK_EQ(node_see(a), VERDICT_OURS);
    CHECK_EQ(try_publish(t, 100, "again"), 0);
    rig_down();
}

TEST(test_a_new_leader_shows_no_more_than_it_knew_to_be_committed)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic *t = make_live(a, "t");
    publish(t, 2, 100);
    WAIT_UNTIL(can_read(b, "t", 2));
    a->syncs_not = true;
    publish(t, 3, 100);
    WAIT_UNTIL(topic_at(b, "t")->disk.at == 5);
    cluster_follow(b->cluster, NULL);
    b->paused = true;
    cluster_resign(a->cluster, "the test says so");
    node_see(b);
    struct synced_register v;
    const char *why;
    CHECK_EQ(cluster_claim(b->cluster, CLAIM_CLEAN, &v, &why), 0);
    b->role.claim.set = (struct members){{b->role.self, a->role.self}, 2};   /* not yet without a */
    v = b->role.claim;
    CHECK_EQ(cluster_lead(b->cluster, &v, ++rig.index), 0);
    rig.reg = v;
    CHECK_EQ(topic_readable(topic_at(b, "t")), 2);
    a->syncs_not = false;
    b->paused = false;
    follow(a, b);
    WAIT_UNTIL(topic_readable(topic_at(b, "t")) == 5);   /* its set has it now */
    rig_down();
}

/* What it has not acknowledged yet may still be acknowledged by the next leader, if that has it. */
TEST(test_a_leader_that_hands_over_waits_for_what_a_member_lacks)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic *t = make_live(a, "t");
    WAIT_UNTIL(topic_at(b, "t") != NULL && topic_at(b, "t")->follow->placed && in_set(a, b));
    b->syncs_not = true;
    publish(t, 1, 100);
    struct mark *drains = cluster_drain(a->cluster, false);
    uint64_t before = drains->at;
    turn_for(50);
    CHECK_EQ(drains->at, before);
    b->syncs_not = false;
    WAIT_UNTIL(drains->at > before);
    CHECK_EQ(topic_at(b, "t")->disk.at, 1);
    rig_down();
}
