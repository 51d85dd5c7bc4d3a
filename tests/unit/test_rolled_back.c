/* An unclean claim: what it lets be cut, and for how long. */
#include "cluster_rig.h"

/* A topic that has had no message since before the unclean claim, which all have. */
TEST(test_an_unclean_claim_is_no_licence_to_cut_what_its_history_has)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic *t = make_live(a, "quiet");
    publish(t, 5, 100);
    WAIT_UNTIL(topic_at(b, "quiet") != NULL && topic_readable(topic_at(b, "quiet")) == 5);
    cluster_follow(b->cluster, NULL);
    cluster_resign(a->cluster, "the test says so");
    claim(a, CLAIM_UNCLEAN);
    join(b, a);
    WAIT_UNTIL(store_state(b->store)->unclean == a->role.epoch);
    cluster_follow(b->cluster, NULL);
    cluster_resign(a->cluster, "the test says so");
    CHECK_EQ(topic_cut(t, 2), 0);                    /* a leader that is wrong */
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
    WAIT_UNTIL(topic_at(b, "t") != NULL && topic_readable(topic_at(b, "t")) == 3);
    a->syncs_not = true;
    publish(t, 2, 100);
    WAIT_UNTIL(topic_at(b, "t")->disk.at == 5);
    cluster_follow(b->cluster, NULL);
    cluster_resign(a->cluster, "the test says so");
    claim(a, CLAIM_UNCLEAN);
    follow(b, a);
    WAIT_UNTIL(topic_at(b, "t")->placed);
    turn_for(500);
    CHECK_EQ(topic_at(b, "t")->unsettled, 5);
    CHECK_EQ(store_state(b->store)->unclean, 0);
    a->syncs_not = false;
    publish(t, 1, 100);
    WAIT_UNTIL(store_state(b->store)->unclean == a->role.epoch);
    rig_down();
}
