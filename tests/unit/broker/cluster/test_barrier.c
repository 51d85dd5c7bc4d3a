/* Barriers: what a node that reads must have, and who may say so. */
#include "unit/broker/cluster/diverge_rig.h"

static int told;

static void on_woken(struct waiter *w, int rc)
{
    (void)w;
    told = rc;
}

struct asked {
    struct waiter waiter;
    struct mark *mark;
    uint64_t want, number;
};

static int begin(struct node *n, struct asked *a, const char *topic)
{
    told = 1;
    *a = (struct asked){.waiter = {.wake = on_woken}};
    int rc = cluster_barrier(n->cluster, slice_from(topic), &a->mark, &a->want, &a->number);
    if (rc == 0)
        mark_wait(a->mark, &a->waiter, a->want);
    return rc;
}

static struct reached finish(struct node *n, struct asked *a, const char *topic)
{
    struct reached r = {0};
    WAIT_UNTIL(told <= 0);
    CHECK_EQ(told, 0);
    CHECK(a->number > 0 ? cluster_reached(n->cluster, a->number, &r)
                        : cluster_reached_here(n->cluster, slice_from(topic), &r));
    return r;
}

TEST(test_a_barrier_says_what_the_leader_shows_and_has_it_sent)
{
    struct asked a;
    rig_up(2);
    struct node *leader = &rig.nodes[0], *follower = &rig.nodes[1];
    struct topic *t = make_wal(leader, "t");
    publish(t, 3, 100);
    WAIT_UNTIL(topic_readable(t) == 3);
    CHECK_EQ(begin(follower, &a, "t"), 0);
    struct reached r = finish(follower, &a, "t");
    CHECK(r.known && r.readable == 3 && r.id.offset == t->id.offset);
    WAIT_UNTIL(topic_at(follower, "t") != NULL && topic_readable(topic_at(follower, "t")) == 3);
    CHECK_EQ(begin(leader, &a, "t"), 0);
    CHECK_EQ(finish(leader, &a, "t").readable, 3);
    CHECK_EQ(begin(follower, &a, "none"), 0);
    CHECK(!finish(follower, &a, "none").known);
    rig_down();
}

/* The follower took over while the leader stood still, and has appended since. */
TEST(test_a_leader_that_was_overtaken_ends_no_barrier)
{
    struct asked a;
    rig_up(2);
    struct node *old = &rig.nodes[0], *young = &rig.nodes[1];
    struct topic *t = make_live(old, "t");
    publish(t, 1, 100);
    WAIT_UNTIL(topic_readable(t) == 1 && topic_at(young, "t") != NULL && topic_at(young, "t")->tail.at == 1);
    old->paused = true;
    cluster_follow(young->cluster, NULL);
    lead(young);
    publish(topic_at(young, "t"), 1, 100);
    WAIT_UNTIL(topic_readable(topic_at(young, "t")) == 2);
    rig.consul_away = true;
    old->paused = false;
    CHECK_EQ(begin(old, &a, "t"), 0);
    turn_for(600);
    CHECK_EQ(told, 1);
    node_see(old);
    CHECK_EQ(told, -ERR_NOT_LEADER);
    rig_down();
}

/* Whoever does not answer may lead by now. What it answered to an earlier question proves nothing. */
TEST(test_a_barrier_waits_for_the_answer_of_each_member)
{
    struct asked a;
    rig_up(3);
    struct node *leader = &rig.nodes[0], *member = &rig.nodes[2];
    make_live(leader, "t");
    CHECK_EQ(begin(leader, &a, "t"), 0);
    CHECK(finish(leader, &a, "t").known);
    rig.consul_away = member->paused = true;
    CHECK_EQ(begin(leader, &a, "t"), 0);
    turn_for(50);
    CHECK_EQ(told, 1);
    member->paused = false;
    CHECK(finish(leader, &a, "t").known);
    rig_down();
}

/* Nobody else can lead. */
TEST(test_a_leader_alone_in_its_set_needs_nobody)
{
    struct asked a;
    rig_up(1);
    struct node *n = &rig.nodes[0];
    make_live(n, "t");
    CHECK_EQ(begin(n, &a, "t"), 0);
    CHECK(finish(n, &a, "t").known);
    rig_down();
}

TEST(test_a_barrier_fails_with_the_connection_and_is_refused_without_one)
{
    struct asked a;
    rig_up(2);
    struct node *follower = &rig.nodes[1];
    rig.nodes[0].paused = true;
    CHECK_EQ(begin(follower, &a, "t"), 0);
    turn_for(50);
    CHECK_EQ(told, 1);
    cluster_follow(follower->cluster, NULL);
    CHECK_EQ(told, -ERR_UNAVAILABLE);
    CHECK_EQ(begin(follower, &a, "t"), -ERR_NO_LEADER);
    rig_down();
}
