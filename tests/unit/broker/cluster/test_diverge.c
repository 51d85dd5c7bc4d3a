/* Followers that come back: what they lack, what they have beyond the leader's history, and what they refuse. */
#include "unit/broker/cluster/diverge_rig.h"

/* Byte for byte, all but the file that is being written. */
static void check_same_files(const char *name, unsigned sealed_least)
{
    char command[512];
    snprintf(command, sizeof command,
             "cd n1/topics/%s && ls *.log > ../../../list && for f in *.log; do cmp $f ../../../n2/topics/%s/$f || "
             "exit 1; done && cd ../../../n2/topics/%s && ls *.log | cmp - ../../../list", name, name, name);
    WAIT_UNTIL(run(command) == 0);                   /* sealing renames after the sync */
    snprintf(command, sizeof command, "n1/topics/%s/*.log", name);
    CHECK(count_in(command) >= sealed_least);
}

TEST(test_an_empty_node_gets_the_very_files)
{
    skip_syncs();
    node_up(0);
    struct node *a = &rig.nodes[0], *b;
    lead(a);
    struct topic_settings s = small_files(REPLICATION_LIVE);
    struct topic *t = make_topic(a, "t", &s);
    for (unsigned i = 0; i < 57; i++)
        publish(t, 1, 10 + i);
    WAIT_UNTIL(t->peers.at == 57);
    b = node_up(1);
    join(b, a);
    WAIT_UNTIL(topic_readable(topic_at(b, "t")) == 57);
    check_same_topic(a, b, "t");
    check_same_files("t", 5);
    publish(t, 20, 30);                              /* and goes on with them */
    WAIT_UNTIL(topic_readable(topic_at(b, "t")) == 77);
    check_same_files("t", 7);
    rig_down();
}

TEST(test_a_follower_that_starts_again_goes_on_where_it_was)
{
    struct topic *t = rig_up_with(15);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    b = node_restart(b);
    publish(t, 15, 100);
    uint64_t shipped = leader_shipped_bytes(cluster_leader(a->cluster));
    join(b, a);
    WAIT_UNTIL(t->peers.at == 30 && can_read(b, "t", 30));
    CHECK(leader_shipped_bytes(cluster_leader(a->cluster)) - shipped < 16 * 200);   /* only what it lacked */
    CHECK_EQ(count_in("n2/diverged"), 0);
    check_same_topic(a, b, "t");
    check_same_files("t", 2);
    rig_down();
}

TEST(test_what_an_old_leader_has_beyond_the_new_ones_history_is_kept_and_cut)
{
    struct topic *t = rig_up_with(15);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    change_leaders(17);                              /* through two ends of files */
    CHECK_EQ(t->tail.at, 32);
    CHECK_EQ(t->peers.at, 15);
    CHECK_EQ(b->role.epoch, 2);
    CHECK(!in_set(b, a));                            /* the claim dropped it */
    for (unsigned i = 0; i < 10; i++)
        CHECK_EQ(try_publish(topic_at(b, "t"), 150, "another"), 0);
    follow(a, b);
    WAIT_UNTIL(topic_readable(t) == 25);
    struct cluster_info info;
    cluster_info(a->cluster, &info);
    CHECK_EQ(info.following.diverged_messages, 17);
    CHECK_EQ(count_in("-d n1/diverged/t-*"), 1);
    CHECK_EQ(run("cat n1/diverged/t-*/* | grep -qa 'message 31'"), 0);
    CHECK_EQ(run("cat n1/diverged/t-*/* | grep -qa 'message 15'"), 0);
    CHECK(run("cat n1/topics/t/* n1/small/t 2>&- | grep -qa 'message 1[5-9]'") != 0);
    check_same_topic(b, a, "t");
    check_same_files("t", 2);
    WAIT_UNTIL(in_set(b, a));
    rig_down();
}

static int mkdir_without_room(const char *path, mode_t mode)
{
    return strstr(path, "/diverged/t-") ? (errno = ENOSPC, -1) : mkdir(path, mode);
}

TEST(test_a_topic_without_room_for_what_is_to_be_cut_holds_up_no_other)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic_settings s = small_files(REPLICATION_LIVE);
    struct topic *t = make_topic(a, "t", &s), *u = make_topic(a, "u", &s);
    publish(t, 15, 100);
    publish(u, 15, 100);
    WAIT_UNTIL(topic_at(b, "u") != NULL && topic_readable(topic_at(b, "t")) == 15);
    WAIT_UNTIL(topic_readable(topic_at(b, "u")) == 15);
    b->paused = true;
    publish(u, 5, 100);
    change_leaders(17);
    for (unsigned i = 0; i < 10; i++) {
        CHECK_EQ(try_publish(topic_at(b, "t"), 150, "another"), 0);
        CHECK_EQ(try_publish(topic_at(b, "u"), 150, "another"), 0);
    }
    io.mkdir = mkdir_without_room;
    follow(a, b);
    WAIT_UNTIL(topic_readable(u) == 25);
    struct cluster_info info;
    WAIT_UNTIL(t->follow->no_room && t->follow->held);
    cluster_info(a->cluster, &info);
    CHECK(info.following.connected);
    CHECK_EQ(info.following.diverged_messages, 5);
    CHECK_EQ(t->tail.at, 32);
    io.mkdir = mkdir;
    WAIT_UNTIL(topic_readable(t) == 25);
    CHECK(!t->follow->no_room);
    check_same_topic(b, a, "t");
    rig_down();
}

/* The follower asks until the disk thread has copied it. */
TEST(test_what_is_beyond_in_a_large_file_is_kept_and_cut_without_holding_up_the_loop)
{
    skip_syncs();
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic_settings s = settings_of(REPLICATION_LIVE);
    s.segment_bytes = 1024 * MIB;
    struct topic *t = make_topic(a, "t", &s);
    publish(t, 15, 100);
    WAIT_UNTIL(can_read(b, "t", 15));
    b->paused = true;
    for (unsigned i = 0; i < 70; i++) {
        publish(t, 1, 1000 * KIB);
        WAIT_UNTIL(t->disk.at == t->tail.at);
    }
    change_leaders(1);
    for (unsigned i = 0; i < 10; i++)
        CHECK_EQ(try_publish(topic_at(b, "t"), 150, "another"), 0);
    follow(a, b);
    WAIT_UNTIL(count_in("-d n1/diverged/t-*.part") == 1);
    CHECK_EQ(t->tail.at, 86);
    struct cluster_info info = {.following.connected = true};
    WAIT_UNTIL((cluster_info(a->cluster, &info), topic_readable(t) == 25 || !info.following.connected));
    CHECK(info.following.connected);                 /* all the time */
    CHECK_EQ(info.following.diverged_messages, 71);
    CHECK_EQ(count_in("-d n1/diverged/*"), 1);
    CHECK_EQ(run("cat n1/diverged/t-*[0-9]/* | grep -qa 'message 85'"), 0);
    check_same_topic(b, a, "t");
    WAIT_UNTIL(in_set(b, a));
    rig_down();
}

TEST(test_nothing_is_cut_where_the_old_leader_has_nothing_beyond)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic *t = make_live(a, "t");
    publish(t, 5, 100);
    WAIT_UNTIL(can_read(b, "t", 5));
    change_leaders(0);
    CHECK_EQ(try_publish(topic_at(b, "t"), 100, "another"), 0);
    follow(a, b);
    WAIT_UNTIL(in_set(b, a) && topic_readable(t) == 6);
    CHECK_EQ(count_in("n1/diverged"), 0);
    check_same_topic(b, a, "t");
    rig_down();
}

/* Epochs 1 (a), 2 (b, with messages that only b has), 3 (a, which never heard of them). */
TEST(test_an_epoch_that_the_leader_never_had_is_cut_away)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic *t = make_live(a, "t");
    const struct topic *u = lost_epoch(t, 0);
    CHECK_EQ(u->peers.at, 5);
    cluster_resign(b->cluster, "the test says so");
    lead(a);
    CHECK_EQ(a->role.epoch, 3);
    publish(t, 1, 100);
    follow(b, a);
    WAIT_UNTIL(in_set(a, b) && topic_readable(topic_at(b, "t")) == 6);
    CHECK_EQ(count_in("-d n2/diverged/t-*"), 1);
    CHECK_EQ(run("cat n2/diverged/t-*/* | grep -qa 'lost 7'"), 0);
    check_same_topic(a, b, "t");
    rig_down();
}

TEST(test_an_old_leader_is_told_that_its_epoch_is_over_and_asks_consul)
{
    rig_up(3);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1], *c = &rig.nodes[2];
    struct topic *t = make_live(a, "t");
    publish(t, 1, 100);
    WAIT_UNTIL(can_read(c, "t", 1));
    rig.consul_away = true;
    a->paused = true;                                /* it does not know */
    cluster_follow(b->cluster, NULL);
    cluster_follow(c->cluster, NULL);
    lead(b);
    follow(c, b);
    WAIT_UNTIL(is_connected(c));
    CHECK_EQ(c->role.epoch, 2);
    struct state s;
    CHECK_EQ(state_load("n3", &s), 0);
    CHECK_EQ(s.epoch, 2);                            /* promised, on its disk */
    a->paused = false;
    publish(t, 1, 100);
    struct leader_address at = address_of_node(a);
    cluster_follow(c->cluster, &at);
    WAIT_UNTIL(a->role.behind);
    CHECK_EQ(node_see(a), VERDICT_OTHER);
    CHECK_EQ(a->role.kind, ROLE_FOLLOWER);
    CHECK_EQ(topic_at(c, "t")->tail.at, 1);          /* not a byte of it */
    CHECK_EQ(c->role.epoch, 2);
    CHECK_EQ(t->peers.at, 1);
    rig_down();
}

/* ---- what is committed is never cut ---- */

/* c is made a leader by hand that has `t` but none of its messages. */
static void usurp(struct node *c)
{
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    cluster_resign(a->cluster, "the test says so");
    cluster_follow(b->cluster, NULL);
    rig.reg.version++;
    rig.index++;
    rig.reg.set = (struct members){{c->role.self, b->role.self}, 2};   /* an operator's mistake */
    lead(c);
}

static struct node *node_that_missed(unsigned messages)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1], *c = node_up(2);
    struct topic *t = make_live(a, "t");
    join(c, a);
    WAIT_UNTIL(topic_at(c, "t") != NULL);
    cluster_follow(c->cluster, NULL);
    WAIT_UNTIL(!in_set(a, c));
    publish(t, messages, 100);
    WAIT_UNTIL(can_read(b, "t", messages));
    return c;
}

TEST(test_a_follower_does_not_cut_what_was_committed)
{
    struct node *c = node_that_missed(5), *b = &rig.nodes[1];
    usurp(c);
    follow(b, c);
    for (int i = 0; i < 3; i++) {
        WAIT_UNTIL(is_connected(b));
        WAIT_UNTIL(!is_connected(b));
    }
    CHECK_EQ(topic_at(b, "t")->tail.at, 5);
    CHECK_EQ(topic_readable(topic_at(b, "t")), 5);
    CHECK_EQ(count_in("n2/diverged"), 0);
    rig_down();
}

TEST(test_a_follower_gives_way_to_an_unclean_claim_and_keeps_what_it_had)
{
    struct node *c = node_that_missed(5), *b = &rig.nodes[1];
    usurp(c);
    cluster_resign(c->cluster, "the test says so");
    claim(c, CLAIM_UNCLEAN);
    CHECK_EQ(rig.reg.set.count, 1);
    CHECK_EQ(try_publish(topic_at(c, "t"), 100, "after"), 0);
    follow(b, c);
    WAIT_UNTIL(topic_readable(topic_at(b, "t")) == 1 && in_set(c, b));
    CHECK_EQ(run("cat n2/diverged/t-*/* | grep -qa 'message 4'"), 0);
    check_same_topic(c, b, "t");
    struct state s;
    WAIT_UNTIL(store_state(b->store)->unclean == c->role.epoch);
    CHECK_EQ(state_load("n2", &s), 0);
    CHECK_EQ(s.unclean, c->role.epoch);
    rig_down();
}
