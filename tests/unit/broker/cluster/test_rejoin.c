/* Followers that come back to a leader which cannot show them all of what they have in common, or not any more. */
#include "unit/cluster_rig.h"
#include "unit/topic_set.h"

static struct topic *both_have(const char *name, enum replication replication, unsigned count)
{
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic_settings s = settings_of(replication);
    s.segment_messages = 10;
    struct topic *t = make_topic(a, name, &s);
    publish(t, count, 100);
    ship(t);
    WAIT_UNTIL(can_read(b, name, count));
    WAIT_UNTIL(topic_at(b, name)->peers.at == count);
    return t;
}

/* b is away for an election and for longer than retention keeps what it had. */
TEST(test_a_follower_whose_epochs_retention_has_removed_begins_at_the_leaders_first)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic *t = both_have("t", REPLICATION_LIVE, 5);
    cluster_follow(b->cluster, NULL);
    WAIT_UNTIL(!in_set(a, b));
    cluster_resign(a->cluster, "the test says so");
    lead(a);
    publish(t, 60, 100);
    WAIT_UNTIL(t->peers.at == 65);
    TOPIC_SET(t, retain.messages, 15);
    WAIT_UNTIL((topics_trim(a->topics), topic_first(t) >= 40));
    join(b, a);
    WAIT_UNTIL(topic_readable(topic_at(b, "t")) == 65);
    check_same_topic(a, b, "t");
    rig_down();
}

/* It is another member from then on, and needs no new epoch to follow. */
TEST(test_a_node_whose_state_was_moved_away_follows_in_the_running_epoch)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic *t = both_have("t", REPLICATION_LIVE, 5);
    struct member before = b->role.self;
    node_down(b);
    CHECK_EQ(run("rm n2/state"), 0);
    b = node_up(1);
    CHECK(!member_eq(&before, &b->role.self));
    join(b, a);
    publish(t, 1, 100);
    WAIT_UNTIL(t->peers.at == 6 && topic_readable(topic_at(b, "t")) == 6);
    CHECK_EQ(a->role.epoch, 1);
    check_same_topic(a, b, "t");
    b = node_restart(b);
    join(b, a);
    rig_down();
}

/* a has what nobody else has; retention at the new leader then goes past where the histories part. */
TEST(test_an_old_leader_that_retention_overtook_begins_at_the_leaders_first)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic *t = both_have("t", REPLICATION_LIVE, 5), *u = topic_at(b, "t");
    b->paused = true;
    publish(t, 3, 100);
    WAIT_UNTIL(t->disk.at == 8);
    cluster_resign(a->cluster, "the test says so");
    cluster_follow(b->cluster, NULL);
    b->paused = false;
    lead(b);
    publish(u, 60, 100);
    WAIT_UNTIL(u->peers.at == 65);
    TOPIC_SET(u, retain.messages, 15);
    WAIT_UNTIL((topics_trim(b->topics), topic_first(u) >= 40));
    join(a, b);
    WAIT_UNTIL(topic_readable(t) == 65);
    CHECK_EQ(run("cat n1/diverged/t-*/* | grep -qa 'message 7'"), 0);
    check_same_topic(a, b, "t");
    rig_down();
}

/* What a leader of `wal` topics says that it has may be far more than it has sent. */
TEST(test_what_an_old_leader_said_of_offsets_that_never_came_is_not_said_of_others)
{
    rig_up(3);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1], *c = &rig.nodes[2];
    struct topic *t = both_have("t", REPLICATION_WAL, 5), *u = topic_at(b, "t");
    WAIT_UNTIL(can_read(c, "t", 5));
    publish(t, 20, 100);
    WAIT_UNTIL(u->follow->told_readable == 25 && topic_at(c, "t")->follow->told_readable == 25);
    CHECK_EQ(u->tail.at, 5);
    cluster_resign(a->cluster, "the test says so");
    node_down(a);
    cluster_follow(b->cluster, NULL);
    lead(c);
    follow(b, c);
    WAIT_UNTIL(is_connected(b) && acked(topic_at(c, "t"), b) == 5);
    struct topic_settings s = settings_of(REPLICATION_LIVE);
    uint64_t want;
    CHECK_EQ(topics_set(c->topics, topic_at(c, "t"), &s, &want), 0);
    WAIT_UNTIL(u->settings->replication == REPLICATION_LIVE);
    c->syncs_not = true;                             /* nothing is committed from now on */
    publish(topic_at(c, "t"), 10, 100);
    WAIT_UNTIL(u->disk.at == 15);
    turn_for(50);
    CHECK_EQ(topic_readable(topic_at(c, "t")), 5);
    CHECK_EQ(topic_readable(u), 5);
    c->syncs_not = false;
    WAIT_UNTIL(topic_readable(u) == 15);
    rig_down();
}

/* a's own messages were acknowledged by it alone; the topic is made live before a comes back. */
TEST(test_what_was_acknowledged_by_one_node_is_cut_also_where_the_topic_is_live_now)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic *t = both_have("t", REPLICATION_WAL, 5);
    publish(t, 20, 100);
    WAIT_UNTIL(topic_readable(t) == 25);
    cluster_resign(a->cluster, "the test says so");
    cluster_follow(b->cluster, NULL);
    lead(b);
    publish(topic_at(b, "t"), 1, 100);
    struct topic_settings s = settings_of(REPLICATION_LIVE);
    set_mode(t, REPLICATION_LIVE, 1);                /* it has heard of it first */
    uint64_t want;
    CHECK_EQ(topics_set(b->topics, topic_at(b, "t"), &s, &want), 0);
    join(a, b);
    WAIT_UNTIL(topic_readable(t) == 6);
    CHECK_EQ(run("cat n1/diverged/t-*/* | grep -qa 'message 24'"), 0);
    check_same_topic(a, b, "t");
    rig_down();
}

/* While a was alone in the set, what was everybody's was what it had: more than it had sent to b when b came in. */
TEST(test_a_member_that_came_in_under_load_of_a_wal_topic_may_lead_and_the_old_leader_follow)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic *t = both_have("t", REPLICATION_WAL, 5);
    cluster_follow(b->cluster, NULL);
    WAIT_UNTIL(!in_set(a, b));
    publish(t, 5, 100);
    follow(b, a);
    WAIT_UNTIL(is_connected(b) && acked(t, b) == 5);
    publish(t, 10, 100);
    WAIT_UNTIL(t->disk.at == 20);
    t->lead->ship = 10;
    topic_settle(t);
    WAIT_UNTIL(in_set(a, b));
    CHECK_EQ(acked(t, b), 10);
    cluster_resign(a->cluster, "the test says so");
    cluster_follow(b->cluster, NULL);
    lead(b);
    publish(topic_at(b, "t"), 1, 100);
    ship(topic_at(b, "t"));
    follow(a, b);
    WAIT_UNTIL(t->tail.at == 11 && topic_readable(t) == 11);
    CHECK_EQ(run("cat n1/diverged/t-*/* | grep -qa 'message 19'"), 0);
    check_same_topic(a, b, "t");
    rig_down();
}

/* An operator's `ship` may wait for more: what is not to be sent yet keeps nobody out. */
TEST(test_a_node_comes_in_also_while_something_of_a_wal_topic_is_not_shipped)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic *t = both_have("t", REPLICATION_WAL, 5);
    cluster_follow(b->cluster, NULL);
    WAIT_UNTIL(!in_set(a, b));
    publish(t, 3, 100);
    join(b, a);
    CHECK_EQ(acked(t, b), 5);
    CHECK_EQ(t->peers.at, 5);
    ship(t);
    WAIT_UNTIL(t->peers.at == 8);
    rig_down();
}

static bool is_sound(const struct node *n, const char *name)
{
    uint64_t from, to;
    struct topic *t = topic_at(n, name);
    return t != NULL && !journal_damage(t->journal, 0, &from, &to);
}

/* The very batch by which both are compared is damaged at the follower. */
TEST(test_damage_where_histories_are_compared_is_mended_too)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic *t = both_have("t", REPLICATION_LIVE, 15);
    node_down(b);
    CHECK_EQ(run("f=$(ls n2/topics/t/*.qwal | tail -n 1); LC_ALL=C sed -i 's/message 14/massage 14/' $f"), 0);
    b = node_up(1);
    join(b, a);
    publish(t, 1, 100);
    WAIT_UNTIL(t->peers.at == 16 && is_sound(b, "t") && topic_readable(topic_at(b, "t")) == 16);
    WAIT_UNTIL(in_set(a, b));
    check_same_topic(a, b, "t");
    rig_down();
}

/* b as if its machine had lost power just now, and a bit of its disk with it. */
static struct node *crash_with_damage(struct node *b, const char *text)
{
    char command[512];
    CHECK_EQ(run("cp -a n2 crashed"), 0);
    node_down(b);
    snprintf(command, sizeof command, "rm -r n2 && mv crashed n2 && "
             "f=$(ls n2/topics/t/*.qwal n2/small/t 2>&- | tail -n 1) && LC_ALL=C sed -i 's/%s/massage/' $f", text);
    CHECK_EQ(run(command), 0);
    return node_up(1);
}

static void publish_one_by_one(struct topic *t, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        publish(t, 1, 100);
        WAIT_UNTIL(t->peers.at == t->tail.at);
    }
}

TEST(test_a_member_that_crashes_with_damage_in_what_it_acknowledged_does_not_take_it_for_torn)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic *t = make_live(a, "t");
    const char *why;
    publish_one_by_one(t, 9);
    WAIT_UNTIL(topic_readable(topic_at(b, "t")) == 9);
    node_see(b);
    b = crash_with_damage(b, "message 3");
    CHECK(!is_sound(b, "t"));
    CHECK_EQ(topic_at(b, "t")->tail.at, 9);
    CHECK_EQ(count_in("n2/torn"), 0);
    node_see(b);
    CHECK(!cluster_eligible(b->cluster, &why));
    follow(b, a);
    WAIT_UNTIL(in_set(a, b) && is_sound(b, "t") && topic_readable(topic_at(b, "t")) == 9);
    check_same_topic(a, b, "t");
    rig_down();
}

/* It has received what the set had, before it had it on its own disk. */
TEST(test_marks_of_a_set_bind_nobody_who_is_not_in_it)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic *t = make_live(a, "t");
    WAIT_UNTIL(topic_at(b, "t") != NULL);
    cluster_follow(b->cluster, NULL);
    WAIT_UNTIL(!in_set(a, b));
    publish_one_by_one(t, 9);
    b->syncs_not = true;
    follow(b, a);
    WAIT_UNTIL(topic_at(b, "t")->written.at == 9);
    b = crash_with_damage(b, "message 3");
    CHECK(is_sound(b, "t"));
    CHECK_EQ(topic_at(b, "t")->tail.at, 3);
    CHECK_EQ(count_in("n2/torn"), 1);
    join(b, a);
    check_same_topic(a, b, "t");
    rig_down();
}

TEST(test_damage_of_the_end_of_a_sealed_file_is_mended_too)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic *t = both_have("t", REPLICATION_LIVE, 10);
    publish(t, 1, 100);
    WAIT_UNTIL(topic_readable(topic_at(b, "t")) == 11);
    node_down(b);
    CHECK_EQ(run("rm n2/topics/t/*10.qwal; f=$(ls n2/topics/t/*.log | tail -n 1); LC_ALL=C sed -i "
                 "'s/message 9/massage 9/' $f"), 0);
    b = node_up(1);
    join(b, a);
    publish(t, 1, 100);
    WAIT_UNTIL(t->peers.at == 12 && is_sound(b, "t") && topic_readable(topic_at(b, "t")) == 12);
    WAIT_UNTIL(in_set(a, b));
    check_same_topic(a, b, "t");
    rig_down();
}

static void damage(const char *file, const char *text)
{
    char command[512];
    snprintf(command, sizeof command, "printf X | dd of=%s bs=1 conv=notrunc seek=$(grep -abo '%s' %s | cut -d: -f1) "
             "2>/dev/null", file, text, file);
    CHECK_EQ(run(command), 0);
}

/* Each has what the other lacks. Fetching it again must not cost what is good here. */
TEST(test_a_file_that_is_damaged_at_the_leader_too_is_left_as_it_is)
{
    rig_up(2);
    struct node *b = &rig.nodes[1];
    struct topic *t = both_have("t", REPLICATION_LIVE, 15), *u = topic_at(b, "t");
    struct buf out = {0};
    uint64_t next, from, to;
    WAIT_UNTIL(count_in("n?/topics/t/*.log") == 2);
    damage("n1/topics/t/00000000000000000000.log", "message 3");
    damage("n2/topics/t/00000000000000000000.log", "message 7");
    CHECK_EQ(topic_read(u, 7, 8, MIB, &out, &next), -ERR_DAMAGED);
    turn_for(2500);                                  /* it looks for damage every two seconds */
    CHECK(journal_damage(u->journal, 0, &from, &to));
    CHECK_EQ(count_in("n2/diverged"), 0);
    CHECK_EQ(topic_read(u, 3, 4, MIB, &out, &next), 0);
    CHECK_EQ(u->tail.at, 15);
    CHECK(is_connected(b));
    publish(t, 1, 100);
    WAIT_UNTIL(t->peers.at == 16);
    buf_fini(&out);
    rig_down();
}

TEST(test_a_leader_that_is_asked_for_a_file_without_an_end_steps_down)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic *t = both_have("t", REPLICATION_LIVE, 15), *u = topic_at(b, "t");
    struct buf out = {0};
    uint64_t next;
    WAIT_UNTIL(count_in("n?/topics/t/*.log") == 2);
    CHECK_EQ(run("f=n1/topics/t/00000000000000000000.log; printf X | dd of=$f bs=1 conv=notrunc "
                 "seek=$(($(stat -c %s $f) - 3)) 2>/dev/null"), 0);
    damage("n2/topics/t/00000000000000000000.log", "message 7");
    CHECK_EQ(topic_read(u, 7, 8, MIB, &out, &next), -ERR_DAMAGED);
    WAIT_UNTIL(a->role.kind == ROLE_FOLLOWER);
    CHECK_EQ(count_in("n2/diverged"), 0);
    CHECK_EQ(u->tail.at, 15);
    CHECK_EQ(t->tail.at, 15);
    buf_fini(&out);
    rig_down();
}

/* A copy of the data directory has been put back, or the disk did not keep what it was told to. */
TEST(test_a_member_that_has_less_than_it_acknowledged_does_not_count_until_it_has_caught_up)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic *t = both_have("t", REPLICATION_LIVE, 5);
    node_down(b);
    CHECK_EQ(run("cp -a n2 old"), 0);
    b = node_up(1);
    join(b, a);
    publish(t, 5, 100);
    WAIT_UNTIL(t->peers.at == 10);
    CHECK(in_set(a, b));
    node_down(b);
    CHECK_EQ(run("rm -r n2 && mv old n2"), 0);
    b = node_up(1);
    b->syncs_not = true;                             /* it does not catch up yet */
    follow(b, a);
    WAIT_UNTIL(!in_set(a, b));
    b->syncs_not = false;
    WAIT_UNTIL(in_set(a, b));
    check_same_topic(a, b, "t");
    publish(t, 1, 100);
    WAIT_UNTIL(t->peers.at == 11);
    rig_down();
}

/* A topic's creation is committed late in a's turn, by the set's change, and b hears of it in the same turn. */
TEST(test_a_follower_that_asks_for_a_new_topic_at_once_gets_it)
{
    rig_up(3);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1], *c = &rig.nodes[2];
    struct topic_settings s = settings_of(REPLICATION_LIVE);
    uint64_t want;
    node_down(c);
    rig.consul_away = true;
    CHECK_EQ(topics_create(a->topics, SLICE("t"), &s, &want), 0);
    WAIT_UNTIL(cluster_pending_write(a->cluster) != NULL && acked(topics_log(a->topics), b) == want);
    rig_confirm(a);
    cluster_send(a->cluster);
    CHECK_EQ(topic_readable(topics_log(a->topics)), want);
    usleep((MARKS_MS + 1) * 1000);                   /* and then marks go without a batch */
    cluster_send(a->cluster);
    a->paused = true;
    WAIT_UNTIL(topic_at(b, "t") != NULL && topic_at(b, "t")->follow->slot != 0);
    a->paused = false;
    WAIT_UNTIL(topic_at(a, "t") != NULL && acked(topic_at(a, "t"), b) == 0);
    rig_down();
}
