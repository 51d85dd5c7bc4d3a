/* Who is in the synced set: when a node joins, when it is asked out, and what counts meanwhile. */
#include "unit/cluster_rig.h"
#include "unit/topic_set.h"

TEST(test_a_node_joins_once_it_has_all_on_its_disk)
{
    node_up(0);
    node_up(1);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    lead(a);
    struct topic *t = make_live(a, "t");
    publish(t, 5, 100);
    WAIT_UNTIL(t->peers.at == 5);                    /* alone in the set, it goes on without b */
    rig.consul_away = true;
    b->syncs_not = true;
    follow(b, a);
    WAIT_UNTIL(topic_at(b, "_topics")->written.at == topic_at(a, "_topics")->tail.at);
    turn_for(200);
    CHECK(cluster_pending_write(a->cluster) == NULL);
    b->syncs_not = false;
    WAIT_UNTIL(cluster_pending_write(a->cluster) != NULL);
    CHECK_EQ(acked(t, b), 5);
    CHECK(members_have(&cluster_pending_write(a->cluster)->set, &b->role.self));
    b->syncs_not = true;
    publish(t, 1, 100);                              /* asked for, it counts */
    WAIT_UNTIL(t->disk.at == 6 && topic_at(b, "t")->written.at == 6);
    turn_for(50);
    CHECK_EQ(t->peers.at, 5);
    rig_confirm(a);
    CHECK(in_set(a, b));
    turn_for(50);
    CHECK_EQ(t->peers.at, 5);
    b->syncs_not = false;
    WAIT_UNTIL(t->peers.at == 6);
    rig_down();
}

TEST(test_who_is_asked_for_and_goes_away_counts_all_the_same)
{
    node_up(0);
    node_up(1);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    lead(a);
    struct topic *t = make_live(a, "t");
    rig.consul_away = true;
    follow(b, a);
    WAIT_UNTIL(cluster_pending_write(a->cluster) != NULL);
    node_down(b);
    publish(t, 1, 100);                              /* Consul may have said yes, and b may lead next */
    turn_for(500);
    CHECK_EQ(t->disk.at, 1);
    CHECK_EQ(t->peers.at, 0);
    rig_confirm(a);
    CHECK_EQ(t->peers.at, 0);
    WAIT_UNTIL(cluster_pending_write(a->cluster) != NULL);
    rig_confirm(a);
    WAIT_UNTIL(t->peers.at == 1);
    rig_down();
}

/* What the leader began its epoch with may be committed, though it does not know. */
TEST(test_a_node_joins_only_with_all_that_the_epoch_began_with)
{
    rig_up(3);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1], *c = &rig.nodes[2];
    struct topic *t = make_live(a, "t");
    WAIT_UNTIL(acked(t, b) == 0 && acked(t, c) == 0);
    cluster_follow(c->cluster, NULL);
    WAIT_UNTIL(!in_set(a, c));
    b->paused = true;
    publish(t, 2, 100);
    WAIT_UNTIL(t->disk.at == 2);
    cluster_resign(a->cluster, "the test says so");
    lead(a);
    CHECK_EQ(t->lead->begun, 2);
    CHECK_EQ(t->peers.at, 0);
    rig.consul_away = true;
    c->syncs_not = true;
    follow(c, a);
    WAIT_UNTIL(topic_at(c, "t")->written.at == 2);
    WAIT_UNTIL(cluster_pending_write(a->cluster) != NULL);  /* b is asked out, for being away */
    CHECK(!members_have(&cluster_pending_write(a->cluster)->set, &c->role.self));
    rig_down();
}

TEST(test_a_member_that_is_gone_is_asked_out_and_counts_until_that_is_confirmed)
{
    rig_up(2);
    struct node *a = &rig.nodes[0];
    struct topic *t = make_live(a, "t");
    WAIT_UNTIL(acked(t, &rig.nodes[1]) == 0);
    rig.consul_away = true;
    node_down(&rig.nodes[1]);
    publish(t, 1, 100);
    WAIT_UNTIL(cluster_pending_write(a->cluster) != NULL);
    CHECK_EQ(cluster_pending_write(a->cluster)->set.count, 1);
    turn_for(50);
    CHECK_EQ(t->disk.at, 1);
    CHECK_EQ(t->peers.at, 0);
    rig_confirm(a);
    WAIT_UNTIL(t->peers.at == 1);
    rig_down();
}

TEST(test_the_set_does_not_shrink_below_copies)
{
    struct topic_settings two = settings_of(REPLICATION_LIVE);
    two.copies = 2;
    rig_up(2);
    struct node *a = &rig.nodes[0];
    struct topic *t = make_topic(a, "t", &two);
    WAIT_UNTIL(acked(t, &rig.nodes[1]) == 0);
    node_down(&rig.nodes[1]);
    publish(t, 1, 100);
    WAIT_UNTIL(leader_stalled_ns(cluster_leader(a->cluster)) > 0);
    turn_for(200);
    CHECK(cluster_pending_write(a->cluster) == NULL);
    CHECK_EQ(t->peers.at, 0);
    node_up(1);
    follow(&rig.nodes[1], a);
    WAIT_UNTIL(t->peers.at == 1);
    rig_down();
}

TEST(test_copies_need_a_set_of_that_size)
{
    struct topic_settings two = settings_of(REPLICATION_LIVE);
    two.copies = 2;
    node_up(0);
    struct node *a = &rig.nodes[0], *b;
    lead(a);
    struct topic *t = make_topic(a, "t", &two);
    CHECK_EQ(try_publish(t, 100, "early"), -ERR_NO_COPIES);
    b = node_up(1);
    rig.consul_away = true;
    follow(b, a);
    WAIT_UNTIL(cluster_pending_write(a->cluster) != NULL);
    CHECK_EQ(try_publish(t, 100, "early"), -ERR_NO_COPIES);   /* the smaller of both sets counts */
    rig_confirm(a);
    CHECK_EQ(try_publish(t, 100, "now"), 0);
    WAIT_UNTIL(t->peers.at == 1);
    rig_down();
}

TEST(test_peers_does_not_rise_in_a_set_smaller_than_copies)
{
    rig_up(1);
    struct topic *t = make_live(&rig.nodes[0], "t");
    rig.nodes[0].syncs_not = true;
    publish(t, 1, 100);
    set_mode(t, REPLICATION_LIVE, 2);                /* raised meanwhile */
    rig.nodes[0].syncs_not = false;
    WAIT_UNTIL(t->disk.at == 1);
    turn_for(20);
    CHECK_EQ(t->peers.at, 0);
    rig_down();
}

TEST(test_an_amnesiac_node_counts_once_it_has_caught_up)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic *t = make_live(a, "t");
    WAIT_UNTIL(acked(t, b) == 0);
    node_down(b);
    publish(t, 1, 100);
    WAIT_UNTIL(t->peers.at == 1);                    /* b was asked out */
    b = node_up(1);
    store_state(b->store)->amnesiac = true;
    CHECK_EQ(store_save_state(b->store), 0);
    b->syncs_not = true;
    follow(b, a);
    WAIT_UNTIL(is_connected(b));
    turn_for(100);
    CHECK(store_state(b->store)->amnesiac);
    CHECK(!in_set(a, b));
    b->syncs_not = false;
    WAIT_UNTIL(!store_state(b->store)->amnesiac);
    CHECK_EQ(topic_at(b, "t")->disk.at, 1);
    struct state s;
    CHECK_EQ(state_load("n2", &s), 0);
    CHECK(!s.amnesiac);
    WAIT_UNTIL(in_set(a, b));
    publish(t, 1, 100);
    WAIT_UNTIL(t->peers.at == 2);                    /* in both senses */
    rig_down();
}

static bool is_amnesiac_to(const struct node *leader)
{
    struct peer_info info;
    return leader_peer(cluster_leader(leader->cluster), 0, &info) && info.amnesiac;
}

/* It may have forgotten messages on whose account it is in the set. */
TEST(test_a_member_that_has_become_amnesiac_does_not_count)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic_settings two = settings_of(REPLICATION_LIVE);
    two.copies = 2;                                  /* so that it is not asked out */
    struct topic *t = make_topic(a, "t", &two);
    publish(t, 1, 100);
    WAIT_UNTIL(t->peers.at == 1);
    node_down(b);
    CHECK_EQ(run("rm n2/small/t"), 0);
    b = node_up(1);
    store_state(b->store)->amnesiac = true;
    publish(t, 1, 100);
    follow(b, a);
    WAIT_UNTIL(acked(t, b) == 2);
    CHECK_EQ(t->peers.at, is_amnesiac_to(a) ? 1 : 2);
    WAIT_UNTIL(t->peers.at == 2);
    CHECK(!is_amnesiac_to(a));
    WAIT_UNTIL(!store_state(b->store)->amnesiac);
    rig_down();
}

/* The second of two members has lost what it had of "t", and knows it; Consul is away. */
static struct node *forgetful_member(struct topic *t)
{
    struct node *b = &rig.nodes[1];
    publish(t, 1, 100);
    WAIT_UNTIL(t->peers.at == 1);
    node_down(b);
    rig.consul_away = true;
    CHECK_EQ(run("rm n2/small/t"), 0);
    b = node_up(1);
    store_state(b->store)->amnesiac = true;
    b->syncs_not = true;
    return b;
}

TEST(test_an_amnesiac_member_that_does_not_catch_up_is_asked_out)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = forgetful_member(make_live(a, "t"));
    follow(b, a);
    WAIT_UNTIL(cluster_pending_write(a->cluster) != NULL);
    CHECK(!members_have(&cluster_pending_write(a->cluster)->set, &b->role.self));
    rig_down();
}

TEST(test_an_amnesiac_member_that_has_caught_up_counts_also_while_the_set_cannot_change)
{
    rig_up(2);
    struct node *a = &rig.nodes[0];
    struct topic *t = make_live(a, "t");
    struct node *b = forgetful_member(t);
    publish(t, 1, 100);
    follow(b, a);
    WAIT_UNTIL(cluster_pending_write(a->cluster) != NULL && topic_at(b, "t")->written.at == 2);
    turn_for(100);
    CHECK(store_state(b->store)->amnesiac);
    CHECK_EQ(t->peers.at, 1);
    b->syncs_not = false;
    WAIT_UNTIL(!store_state(b->store)->amnesiac && t->peers.at == 2);
    CHECK(cluster_pending_write(a->cluster) != NULL);       /* what was asked for may have happened: both sets count */
    rig_confirm(a);
    rig.consul_away = false;
    WAIT_UNTIL(in_set(a, b));
    rig_down();
}

static size_t unsent_of(const struct node *leader)
{
    size_t most = 0;
    LIST_EACH(node, &cluster_leader(leader->cluster)->peers) {
        const struct peer *p = LIST_OWNER(node, struct peer, all);
        if (link_unsent(p->link) > most)
            most = link_unsent(p->link);
    }
    return most;
}

TEST(test_a_slow_follower_costs_bounded_memory_and_is_asked_out)
{
    skip_syncs();
    rig.lag_max_ns = 300 * NS_PER_MS;
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic *t = make_live(a, "t");
    WAIT_UNTIL(acked(t, b) == 0);
    b->paused = true;
    size_t most = 0;
    uint64_t begun = clock_ns();
    for (unsigned i = 0; i < 320; i++) {
        publish(t, 1, 100 * KIB);
        loop_again(&rig.loop);
        rig_turn();
        size_t unsent = unsent_of(a);
        most = unsent > most ? unsent : most;
    }
    CHECK(most > LINK_UNSENT_MAX / 2);               /* it did pile up: 32 MB were published */
    CHECK(most <= LINK_UNSENT_MAX + SHIP_SIZE + PAYLOAD_SIZE_MAX);
    WAIT_UNTIL(!in_set(a, b));
    struct peer_info info;
    CHECK(clock_ns() - begun >= rig.lag_max_ns);
    CHECK(leader_peer(cluster_leader(a->cluster), 0, &info));   /* it is connected, and not out for its silence */
    WAIT_UNTIL(t->peers.at == 320);
    b->paused = false;
    WAIT_UNTIL(in_set(a, b));                        /* and comes back by itself */
    WAIT_UNTIL(topic_readable(topic_at(b, "t")) == 320);
    check_same_topic(a, b, "t");
    rig_down();
}

TEST(test_a_topic_that_was_idle_for_long_is_not_behind_with_its_next_message)
{
    rig.lag_max_ns = 1000 * NS_PER_MS;
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic *t = make_live(a, "t");
    publish(t, 1, 100);
    WAIT_UNTIL(t->peers.at == 1);
    turn_for(1500);
    b->paused = true;                                /* for less than lag_max */
    publish(t, 1, 100);
    turn_for(20);
    CHECK_EQ(acked(t, b), 1);
    leader_tick(cluster_leader(a->cluster));
    CHECK(!a->role.synced.proposing);
    struct peer_info info;
    CHECK(leader_peer(cluster_leader(a->cluster), 0, &info));
    CHECK(info.lag_seconds < 1);
    turn_for(1500);
    CHECK(!in_set(a, b));                            /* now it is */
    rig_down();
}

/* Keeps connections to this port open when their owner closes them, as a lost network would. */
static void keep_open(uint16_t port)
{
    for (int fd = 3; fd < 200; fd++) {
        union address to = {0};
        socklen_t size = sizeof to;
        if (getpeername(fd, &to.any, &size) == 0 && ntohs(to.v4.sin_port) == port)
            CHECK(dup(fd) > 0);
    }
}

TEST(test_a_member_that_connects_anew_is_not_taken_for_absent)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct leader_address at = address_of_node(a);
    publish(make_live(a, "t"), 1, 100);
    rig.consul_away = true;
    keep_open((uint16_t)atoi(strchr(at.replication, ':') + 1));
    cluster_follow(b->cluster, NULL);
    turn_for(20);
    cluster_follow(b->cluster, &at);
    WAIT_UNTIL(is_connected(b));
    turn_for(600);
    CHECK(cluster_pending_write(a->cluster) == NULL);
    CHECK(in_set(a, b));
    rig_down();
}

/* Writes what the leader never had into a node's topic, as its own epoch of before, behind the broker's back. */
static void append_behind(struct node *n, const char *name, uint64_t epoch, const char *text)
{
    struct topic *t = topic_at(n, name);
    struct buf messages = {0};
    struct message m = {.payload = slice_from(text)};
    message_write(&messages, &m);
    struct append a = {.messages = buf_slice(&messages), .count = 1, .epoch = epoch, .time_ms = clock_wall_ms(),
                       .has_stated = true};
    uint64_t first;
    CHECK_EQ(journal_append(t->journal, &a, &first), 0);
    mark_advance(&t->tail, first + 1);
    buf_fini(&messages);
    WAIT_UNTIL(t->disk.at == first + 1);
}

TEST(test_histories_that_differ_within_an_epoch_are_left_alone)
{
    rig.lag_max_ns = 700 * NS_PER_MS;
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic *t = make_live(a, "t");
    publish(t, 1, 100);
    WAIT_UNTIL(t->peers.at == 1 && topic_readable(topic_at(b, "t")) == 1);
    rig.consul_away = true;
    cluster_follow(b->cluster, NULL);
    append_behind(b, "t", 1, "not what");
    publish(t, 1, 100);
    WAIT_UNTIL(t->disk.at == 2);
    uint64_t begun = clock_ns();
    follow(b, a);
    while (clock_ns() - begun < 400 * NS_PER_MS) {
        turn_for(20);
        CHECK_EQ(t->peers.at, 1);
        CHECK_EQ(topic_at(b, "t")->tail.at, 2);      /* neither cut nor added to */
    }
    CHECK_EQ(count_in("n2/diverged"), 0);
    CHECK(in_set(a, b));
    /* It connects again and again, and never gets anywhere: that does not keep it in the set. */
    WAIT_UNTIL(cluster_pending_write(a->cluster) != NULL);
    CHECK_EQ(cluster_pending_write(a->cluster)->set.count, 1);
    rig_confirm(a);
    WAIT_UNTIL(t->peers.at == 2);
    rig_down();
}

TEST(test_a_connection_that_fails_at_once_is_made_less_and_less_often)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic *t = make_live(a, "t");
    publish(t, 1, 100);
    WAIT_UNTIL(topic_at(b, "t") != NULL && topic_at(b, "t")->disk.at == 1);
    cluster_follow(b->cluster, NULL);
    append_behind(b, "t", 1, "not what");
    publish(t, 1, 100);
    WAIT_UNTIL(t->disk.at == 2);
    uint64_t begun = clock_ns();
    follow(b, a);
    for (int i = 0; i < 6; i++) {
        WAIT_UNTIL(is_connected(b));
        WAIT_UNTIL(!is_connected(b));
    }
    CHECK(clock_ns() - begun > 600 * NS_PER_MS);     /* 20, 40, 80, 160 and 320 ms */
    rig_down();
}

static void check_who_cannot_make_a_live_topic(unsigned others)
{
    rig.lag_max_ns = 500 * NS_PER_MS;
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    if (others > 0)
        make_many(a, b, others);
    WAIT_UNTIL(in_set(a, b));
    CHECK_EQ(run("touch n2/topics/t"), 0);           /* where its directory should be */
    struct topic *t = make_live(a, "t");
    publish(t, 1, 100);
    turn_for(100);
    CHECK_EQ(t->peers.at, 0);
    WAIT_UNTIL(t->peers.at == 1);
    CHECK(!in_set(a, b));
    CHECK(is_connected(b));
    turn_for(600);
    CHECK(!in_set(a, b));                            /* nor is it asked back */
    rig_down();
}

TEST(test_a_member_that_cannot_make_a_live_topic_is_asked_out)
{
    check_who_cannot_make_a_live_topic(0);
}

TEST(test_a_member_that_cannot_make_a_live_topic_is_asked_out_also_behind_more_than_one_look_sees)
{
    check_who_cannot_make_a_live_topic(LOOK_STEP + 100);
}

TEST(test_peers_does_not_rise_before_a_changed_set_is_counted)
{
    node_up(0);
    struct node *a = &rig.nodes[0];
    lead(a);
    struct topic *t = make_live(a, "t");
    publish(t, 1, 100);
    store_flush(a->store);
    store_sync(a->store);
    a->paused = true;
    leader_set_changed(cluster_leader(a->cluster));
    WAIT_UNTIL(t->disk.at == 1);
    CHECK_EQ(t->peers.at, 0);
    leader_send(cluster_leader(a->cluster));
    CHECK_EQ(t->peers.at, 1);
    rig_down();
}
