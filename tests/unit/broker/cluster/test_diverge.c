/* Followers that come back: what they lack, what they have beyond the leader's history, and what they refuse. */
#include <time.h>

#include "unit/cluster_rig.h"

static struct topic_settings small_files(enum replication replication)
{
    struct topic_settings s = settings_of(replication);
    s.segment_messages = 10;
    return s;
}

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
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic_settings s = small_files(REPLICATION_LIVE);
    struct topic *t = make_topic(a, "t", &s);
    publish(t, 15, 100);
    WAIT_UNTIL(topic_at(b, "t") != NULL && topic_readable(topic_at(b, "t")) == 15);
    b = node_restart(b);
    publish(t, 15, 100);
    uint64_t shipped = leader_shipped_bytes(cluster_leader(a->cluster));
    join(b, a);
    WAIT_UNTIL(t->peers.at == 30 && topic_at(b, "t") != NULL && topic_readable(topic_at(b, "t")) == 30);
    CHECK(leader_shipped_bytes(cluster_leader(a->cluster)) - shipped < 16 * 200);   /* only what it lacked */
    CHECK_EQ(count_in("n2/diverged"), 0);
    check_same_topic(a, b, "t");
    check_same_files("t", 2);
    rig_down();
}

/* b leads after a, which has messages that b never saw. */
static void change_leaders(unsigned beyond)
{
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic *t = topic_at(a, "t");
    b->paused = true;
    publish(t, beyond, 100);
    WAIT_UNTIL(t->disk.at == t->tail.at);
    cluster_resign(a->cluster, "the test says so");
    cluster_follow(b->cluster, NULL);
    b->paused = false;
    lead(b);
}

TEST(test_what_an_old_leader_has_beyond_the_new_ones_history_is_kept_and_cut)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic_settings s = small_files(REPLICATION_LIVE);
    struct topic *t = make_topic(a, "t", &s);
    publish(t, 15, 100);
    WAIT_UNTIL(topic_at(b, "t") != NULL && topic_readable(topic_at(b, "t")) == 15);
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
    CHECK(run("cat n1/topics/t/* | grep -qa 'message 1[5-9]'") != 0);
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
    WAIT_UNTIL(t->follow.no_room && t->follow.held);
    cluster_info(a->cluster, &info);
    CHECK(info.following.connected);
    CHECK_EQ(info.following.diverged_messages, 5);
    CHECK_EQ(t->tail.at, 32);
    io.mkdir = mkdir;
    WAIT_UNTIL(topic_readable(t) == 25);
    CHECK(!t->follow.no_room);
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
    WAIT_UNTIL(topic_at(b, "t") != NULL && topic_readable(topic_at(b, "t")) == 15);
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

/* ---- tokens of readers ---- */

static int token(const struct node *n, uint64_t epoch, uint64_t offset)
{
    uint64_t found, end;
    struct topic_token token = {.epoch = epoch, .offset = offset};
    return topic_check(topic_at(n, "t"), &token, &found, &end);
}

TEST(test_a_node_that_lags_refuses_no_token_that_it_may_yet_get)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic *t = make_live(a, "t");
    publish(t, 5, 100);
    WAIT_UNTIL(topic_at(b, "t") != NULL && topic_readable(topic_at(b, "t")) == 5);
    CHECK_EQ(token(a, 1, 8), -ERR_TRUNCATED);        /* it leads epoch 1, and knows all of it, */
    CHECK_EQ(token(a, 2, 8), 0);                     /* but not whether somebody leads epoch 2 by now */
    a->paused = true;
    cluster_follow(b->cluster, NULL);
    CHECK_EQ(token(b, 1, 9), 0);
    lead(b);
    for (unsigned i = 0; i < 3; i++)
        CHECK_EQ(try_publish(topic_at(b, "t"), 100, "another"), 0);
    CHECK_EQ(token(b, 1, 5), 0);
    CHECK_EQ(token(b, 2, 8), 0);
    CHECK_EQ(token(b, 1, 6), -ERR_TRUNCATED);
    CHECK_EQ(token(b, 2, 9), -ERR_TRUNCATED);
    role_expire_lease(&a->role);                /* it has heard nothing of that, and its lease is over */
    CHECK_EQ(token(a, 2, 8), 0);
    CHECK_EQ(token(a, 1, 6), -ERR_TRUNCATED);        /* epoch 1 was its own */
    cluster_resign(a->cluster, "the test says so");
    CHECK_EQ(token(a, 2, 8), 0);
    CHECK_EQ(token(a, 1, 6), 0);
    CHECK_EQ(token(a, 2, 5), 0);
    CHECK_EQ(token(a, 2, 4), -ERR_UNAVAILABLE);      /* what it has there is of epoch 1: not what the reader has */
    a->paused = false;
    follow(a, b);
    WAIT_UNTIL(topic_readable(t) == 8);
    CHECK_EQ(token(a, 2, 8), 0);
    CHECK_EQ(token(a, 1, 6), -ERR_TRUNCATED);
    CHECK_EQ(token(a, 1, 9), -ERR_TRUNCATED);
    rig_down();
}

TEST(test_a_token_of_what_was_cut_is_refused_also_when_others_have_taken_its_place)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic_settings s = small_files(REPLICATION_LIVE);
    struct topic *t = make_topic(a, "t", &s);
    publish(t, 15, 100);
    WAIT_UNTIL(topic_at(b, "t") != NULL && topic_readable(topic_at(b, "t")) == 15);
    change_leaders(17);
    CHECK_EQ(token(a, 1, 32), 0);
    CHECK_EQ(token(a, 2, 20), -ERR_UNAVAILABLE);
    for (uint64_t next = 20; next <= 50; next += 5) {
        for (unsigned i = 0; i < 5; i++)
            CHECK_EQ(try_publish(topic_at(b, "t"), 100, "another"), 0);
        follow(a, b);
        WAIT_UNTIL(topic_readable(t) == next);
        CHECK_EQ(token(a, 1, 15), 0);
        for (uint64_t lost = 16; lost <= 32; lost++)
            CHECK_EQ(token(a, 1, lost), -ERR_TRUNCATED);
        CHECK_EQ(token(a, 2, next), 0);
        CHECK_EQ(token(a, 2, next + 1), 0);
    }
    rig_down();
}

/* Five messages of epoch 1, which a led; `beyond` more that only a has; three of epoch 2 that only b has, which
 * leads. */
static struct topic *lost_epoch(struct topic *t, unsigned beyond)
{
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    publish(t, 5, 100);
    WAIT_UNTIL(topic_at(b, "t") != NULL && topic_readable(topic_at(b, "t")) == 5);
    change_leaders(beyond);
    struct topic *u = topic_at(b, "t");
    rig.reg.set = (struct members){{a->role.self, b->role.self}, 2};
    b->role.synced.confirmed.set = rig.reg.set;            /* as if a had been asked in: nothing commits without it */
    leader_set_changed(cluster_leader(b->cluster));
    for (unsigned i = 0; i < 3; i++)
        CHECK_EQ(try_publish(u, 100, "lost"), 0);
    WAIT_UNTIL(u->disk.at == 8);
    return u;
}

/* Epochs 1 (a), 2 (b, which has half of what a has), 3 (a, which never heard of 2). */
TEST(test_a_token_of_an_epoch_that_the_leader_never_had_is_refused_though_an_older_one_goes_on)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic *t = make_live(a, "t");
    lost_epoch(t, 5);
    CHECK_EQ(token(b, 2, 8), 0);
    cluster_resign(b->cluster, "the test says so");
    lead(a);
    publish(t, 1, 100);
    follow(b, a);
    WAIT_UNTIL(in_set(a, b) && topic_readable(topic_at(b, "t")) == 11);
    for (struct node *n = a; n != NULL; n = n == a ? b : NULL) {
        uint64_t found, end;
        for (uint64_t offset = 1; offset <= 10; offset++)
            CHECK_EQ(token(n, 1, offset), 0);
        CHECK_EQ(token(n, 3, 11), 0);
        for (uint64_t offset = 1; offset <= 12; offset++)
            CHECK_EQ(token(n, 2, offset), -ERR_TRUNCATED);
        for (uint64_t offset = 1; offset <= 10; offset++)
            CHECK_EQ(token(n, 3, offset), -ERR_TRUNCATED);
        for (uint64_t offset = 0; offset <= 12; offset++)
            CHECK_EQ(token(n, EPOCH_UNKNOWN, offset), 0);
        struct topic_token later = {.epoch = 2, .offset = 8};
        CHECK_EQ(topic_check(topic_at(n, "t"), &later, &found, &end), -ERR_TRUNCATED);
        CHECK_EQ(found, 1);
        CHECK_EQ(end, 7);
    }
    rig_down();
}

TEST(test_nothing_is_cut_where_the_old_leader_has_nothing_beyond)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic *t = make_live(a, "t");
    publish(t, 5, 100);
    WAIT_UNTIL(topic_at(b, "t") != NULL && topic_readable(topic_at(b, "t")) == 5);
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
    WAIT_UNTIL(topic_at(c, "t") != NULL && topic_readable(topic_at(c, "t")) == 1);
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
    WAIT_UNTIL(topic_at(b, "t") != NULL && topic_readable(topic_at(b, "t")) == messages);
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

/* ---- retention, and topics that come and go ---- */

TEST(test_a_follower_that_retention_overtook_begins_at_the_leaders_first)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic_settings s = small_files(REPLICATION_LIVE);
    s.retain.messages = 15;
    struct topic *t = make_topic(a, "t", &s);
    publish(t, 5, 100);
    WAIT_UNTIL(topic_at(b, "t") != NULL && topic_readable(topic_at(b, "t")) == 5);
    cluster_follow(b->cluster, NULL);
    publish(t, 60, 100);
    WAIT_UNTIL(t->peers.at == 65);
    WAIT_UNTIL((topics_trim(a->topics), topic_first(t) >= 40));
    join(b, a);
    WAIT_UNTIL(topic_readable(topic_at(b, "t")) == 65);
    CHECK_EQ(topic_first(topic_at(b, "t")), topic_first(t));
    CHECK_EQ(count_in("-d n2/diverged/t-*"), 1);     /* only the leader says that its retention has removed that */
    check_same_topic(a, b, "t");
    rig_down();
}

TEST(test_retention_while_a_follower_catches_up_makes_it_begin_anew)
{
    skip_syncs();
    node_up(0);
    struct node *a = &rig.nodes[0], *b;
    lead(a);
    struct topic_settings s = settings_of(REPLICATION_LIVE);
    s.segment_bytes = 1 * MIB;
    s.retain.messages = 2;
    struct topic *t = make_topic(a, "t", &s);
    publish(t, 60, 800 * KIB);                       /* more than sockets and links hold */
    WAIT_UNTIL(t->peers.at == 60);
    b = node_up(1);
    follow(b, a);
    WAIT_UNTIL(topic_at(b, "t") != NULL && topic_at(b, "t")->tail.at > 0);
    b->paused = true;                                /* its socket fills up */
    turn_for(50);
    WAIT_UNTIL((topics_trim(a->topics), topic_first(t) > 50));
    b->paused = false;
    WAIT_UNTIL(in_set(a, b) && topic_readable(topic_at(b, "t")) == 60);
    CHECK_EQ(topic_first(topic_at(b, "t")), topic_first(t));
    check_same_topic(a, b, "t");
    rig_down();
}

static void delete_topic(struct node *n, const char *name)
{
    uint64_t want;
    CHECK_EQ(topics_delete(n->topics, topic_at(n, name), &want), 0);
    WAIT_UNTIL(topic_at(n, name) == NULL);
}

TEST(test_a_topic_made_again_while_a_follower_is_away_is_another)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    publish(make_live(a, "t"), 5, 100);
    publish(make_live(a, "gone"), 5, 100);
    WAIT_UNTIL(topic_at(b, "gone") != NULL && topic_readable(topic_at(b, "gone")) == 5 &&
               topic_readable(topic_at(b, "t")) == 5);
    node_down(b);
    delete_topic(a, "t");
    delete_topic(a, "gone");
    struct topic *t = make_live(a, "t");
    CHECK_EQ(try_publish(t, 100, "another"), 0);
    b = node_up(1);
    join(b, a);
    WAIT_UNTIL(topic_at(b, "t") != NULL && topic_at(b, "t")->id.offset == t->id.offset &&
               topic_readable(topic_at(b, "t")) == 1);
    CHECK(topic_at(b, "gone") == NULL);
    check_same_topic(a, b, "t");
    publish(t, 1, 100);
    WAIT_UNTIL(t->peers.at == 2);
    rig_down();
}

TEST(test_topics_deleted_and_made_under_way_leave_the_rest_alone)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic *kept = make_live(a, "kept");
    for (int i = 0; i < 5; i++) {
        publish(kept, 1, 100);
        struct topic *t = make_live(a, "t");
        publish(t, 3, 100);
        delete_topic(a, "t");                        /* some of it may be on its way */
    }
    WAIT_UNTIL(kept->peers.at == 5);
    WAIT_UNTIL(topic_readable(topic_at(b, "kept")) == 5 && topic_at(b, "t") == NULL);
    check_same_topic(a, b, "kept");
    CHECK(is_connected(b));
    rig_down();
}

static int sync_slowly_once(int fd)
{
    static int calls;
    struct timespec a_while = {.tv_nsec = 300 * NS_PER_MS};
    if (__atomic_fetch_add(&calls, 1, __ATOMIC_SEQ_CST) == 0)
        nanosleep(&a_while, NULL);
    return fdatasync(fd);
}

/* What rises then is told to nobody: a sanitizer sees whoever remembers the topic. */
TEST(test_a_topic_is_deleted_while_its_messages_are_on_their_way_to_the_disk)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic *t = make_wal(a, "t"), *kept = make_live(a, "kept");
    uint64_t want;
    publish(t, 1, 100);
    WAIT_UNTIL(t->disk.at == 1 && acked(t, b) == 0 && acked(kept, b) == 0);
    a->syncs_not = true;
    CHECK_EQ(topics_delete(a->topics, t, &want), 0);
    WAIT_UNTIL(acked(topics_log(a->topics), b) == want);
    ship(t);
    io.sync_data = sync_slowly_once;
    WAIT_UNTIL(topic_at(b, "t")->written.at == 1);
    CHECK_EQ(topic_at(b, "t")->disk.at, 0);
    a->syncs_not = false;
    WAIT_UNTIL(topic_at(b, "t") == NULL);
    publish(kept, 1, 100);
    WAIT_UNTIL(kept->peers.at == 1);
    rig_down();
}

/* ---- leaders ---- */

static int told;

static void on_woken(struct waiter *w, int rc)
{
    (void)w;
    told = rc;
}

TEST(test_whoever_waits_when_leading_ends_is_told_that_it_is_not_known)
{
    rig_up(2);
    struct node *a = &rig.nodes[0];
    struct topic *t = make_live(a, "t");
    rig.nodes[1].syncs_not = true;
    publish(t, 1, 100);
    struct waiter w = {.wake = on_woken};
    told = 1;
    mark_wait(topic_ack_mark(t), &w, 1);
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
    struct topic *t = make_live(a, "t");
    rig.nodes[1].syncs_not = true;
    publish(t, 1, 100);
    struct waiter w = {.wake = on_woken};
    told = 1;
    mark_wait(topic_ack_mark(t), &w, 1);
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
    WAIT_UNTIL(topic_at(b, "t") != NULL && topic_readable(topic_at(b, "t")) == 2);
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
