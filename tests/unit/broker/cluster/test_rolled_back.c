/* Consul was rolled back, and what nodes have does not fit together: they keep it, and do as the operator says. */
#include "unit/cluster_rig.h"

static void publish_of(struct topic *t, unsigned n, const char *text)
{
    uint64_t want = t->tail.at + n;
    while (t->tail.at < want)
        CHECK_EQ(try_publish(t, 100, text), 0);
    WAIT_UNTIL(topic_own_mark(t)->at == want);
}

/* Both have led an epoch 2, and b now leads an epoch 3 of which nothing tells that a has seen more: it is a line of
 * registers that has outgrown the one that was lost. */
static void two_histories(struct node **a, struct node **b)
{
    rig_up(2);
    *a = &rig.nodes[0];
    *b = &rig.nodes[1];
    struct topic *t = make_wal(*a, "t");
    publish_of(t, 2, "common");
    t->lead->ship = t->tail.at;
    topic_settle(t);
    WAIT_UNTIL(topic_at(*b, "t") != NULL && topic_at(*b, "t")->disk.at == 2);
    cluster_resign((*a)->cluster, "the test says so");
    cluster_follow((*b)->cluster, NULL);
    struct synced_register backup = rig.reg;
    lead(*a);
    publish_of(t, 3, "of a");
    cluster_resign((*a)->cluster, "the test says so");
    rig.reg = backup;
    lead(*b);
    publish_of(topic_at(*b, "t"), 4, "of b");
    CHECK_EQ((*a)->role.epoch, 2);
    CHECK_EQ((*b)->role.epoch, 2);
    cluster_resign((*b)->cluster, "the test says so");
    lead(*b);
}

TEST(test_two_histories_of_one_epoch_are_kept_and_not_dialled_for_ever)
{
    struct node *a, *b;
    two_histories(&a, &b);
    follow(a, b);
    for (int i = 0; i < 8; i++) {
        WAIT_UNTIL(is_connected(a));
        WAIT_UNTIL(!is_connected(a));
    }
    uint64_t until = clock_ns() + 1500 * NS_PER_MS;
    watch_arm(&rig.alarm, 1500 * NS_PER_MS);
    WAIT_UNTIL(is_connected(a) || clock_ns() > until);
    CHECK(!is_connected(a));                         /* 20, 40, ... 1280 ms before, and now 2560 */
    CHECK_EQ(topic_at(a, "t")->tail.at, 5);
    CHECK_EQ(topic_at(b, "t")->tail.at, 6);
    CHECK_EQ(count_in("n1/diverged"), 0);
    rig_down();
}

TEST(test_an_unclean_claim_makes_one_of_two_histories_of_an_epoch_the_clusters)
{
    struct node *a, *b;
    two_histories(&a, &b);
    follow(a, b);
    WAIT_UNTIL(is_connected(a));
    WAIT_UNTIL(!is_connected(a));
    cluster_resign(b->cluster, "the operator says so");
    claim(b, CLAIM_UNCLEAN);
    follow(a, b);
    struct topic *t = topic_at(b, "t"), *u = topic_at(a, "t");
    t->lead->ship = t->tail.at;
    topic_settle(t);
    WAIT_UNTIL(u->tail.at == 6 && topic_readable(u) == 6);
    check_same_topic(a, b, "t");
    CHECK_EQ(run("cat n1/diverged/t-*/* | grep -qa 'of a 4'"), 0);
    WAIT_UNTIL(store_state(a->store)->unclean == b->role.epoch);
    rig_down();
}

/* A topic that has had no message since before the unclean claim, which all have. */
TEST(test_an_unclean_claim_is_no_licence_to_cut_what_its_history_has)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic *t = make_live(a, "quiet");
    publish(t, 5, 100);
    WAIT_UNTIL(can_read(b, "quiet", 5));
    cluster_follow(b->cluster, NULL);
    cluster_resign(a->cluster, "the test says so");
    claim(a, CLAIM_UNCLEAN);
    join(b, a);
    WAIT_UNTIL(store_state(b->store)->unclean == a->role.epoch);
    cluster_follow(b->cluster, NULL);
    cluster_resign(a->cluster, "the test says so");
    CHECK_EQ(topic_truncate(t, 2), 0);                    /* a leader that is wrong */
    lead(a);
    follow(b, a);
    WAIT_UNTIL(is_connected(b));
    WAIT_UNTIL(!is_connected(b));
    CHECK_EQ(topic_at(b, "quiet")->tail.at, 5);
    CHECK_EQ(topic_readable(topic_at(b, "quiet")), 5);
    rig_down();
}

/* The leader has not got it on its own disk yet, and may have to give it up. */
TEST(test_an_unclean_claim_is_done_with_when_all_from_before_is_committed)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic *t = make_live(a, "t");
    publish(t, 3, 100);
    WAIT_UNTIL(can_read(b, "t", 3));
    a->syncs_not = true;
    publish(t, 2, 100);
    WAIT_UNTIL(topic_at(b, "t")->disk.at == 5);
    cluster_follow(b->cluster, NULL);
    cluster_resign(a->cluster, "the test says so");
    claim(a, CLAIM_UNCLEAN);
    follow(b, a);
    WAIT_UNTIL(topic_at(b, "t")->follow->placed);
    turn_for(500);
    CHECK_EQ(topic_at(b, "t")->follow->unsettled, 5);
    CHECK_EQ(store_state(b->store)->unclean, 0);
    a->syncs_not = false;
    publish(t, 1, 100);
    WAIT_UNTIL(store_state(b->store)->unclean == a->role.epoch);
    rig_down();
}

/* It has seen the register that is gone and has had nothing of the cluster yet, as it cannot reach the leader, say. */
TEST(test_a_node_that_has_yet_to_be_sent_anything_makes_no_register_when_consul_has_lost_it)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *c = node_up(2);
    const char *why;
    struct synced_register v;
    struct topic *t = make_live(a, "t");
    publish(t, 1, 100);
    WAIT_UNTIL(topic_readable(t) == 1);
    CHECK_EQ(node_see(c), VERDICT_OTHER);
    CHECK(!c->role.regressed);
    rig.has_register = false;
    rig.consul_away = true;
    CHECK_EQ(node_see(c), VERDICT_REGRESSED);        /* else the others would follow it, by a register that goes on */
    CHECK_EQ(cluster_claim(c->cluster, CLAIM_CLEAN, &v, &why), -ERR_NOT_ELIGIBLE);
    CHECK_EQ(node_see(a), VERDICT_REGRESSED);
    rig_down();
}
