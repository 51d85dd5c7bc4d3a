/* Replication between nodes in one process: what is shipped, counted and shown, and who counts. */
#include <time.h>

#include "unit/cluster_rig.h"

/* ---- publishing ---- */

TEST(test_live_waits_for_every_counted_member)
{
    rig_up(3);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1], *c = &rig.nodes[2];
    struct topic *t = make_live(a, "t");
    WAIT_UNTIL(acked(t, b) == 0 && acked(t, c) == 0);
    c->syncs_not = true;
    publish(t, 1, 100);
    WAIT_UNTIL(t->disk.at == 1 && acked(t, b) == 1 && topic_at(c, "t")->written.at == 1);
    turn_for(100);
    CHECK_EQ(t->peers.at, 0);                        /* c has it, but not on its disk */
    CHECK_EQ(topic_readable(t), 0);
    CHECK_EQ(topic_readable(topic_at(b, "t")), 0);   /* b has it on its disk, and must not show it */
    CHECK_EQ(topic_at(b, "t")->disk.at, 1);
    c->syncs_not = false;
    WAIT_UNTIL(t->peers.at == 1);
    WAIT_UNTIL(topic_readable(topic_at(b, "t")) == 1 && topic_readable(topic_at(c, "t")) == 1);
    CHECK_EQ(topic_at(b, "t")->peers.at, 1);         /* below which it will not be cut */
    check_same_topic(a, b, "t");
    check_same_topic(a, c, "t");
    rig_down();
}

TEST(test_live_waits_for_the_leaders_own_disk)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic *t = make_live(a, "t");
    WAIT_UNTIL(acked(t, b) == 0);
    a->syncs_not = true;
    publish(t, 1, 100);
    WAIT_UNTIL(acked(t, b) == 1);                    /* the network overlaps the disk */
    CHECK_EQ(t->disk.at, 0);
    CHECK_EQ(t->peers.at, 0);
    a->syncs_not = false;
    WAIT_UNTIL(t->peers.at == 1);
    CHECK_EQ(t->disk.at, 1);
    rig_down();
}

TEST(test_wal_ships_what_it_is_let_and_acknowledges_alone)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic *t = make_wal(a, "t");
    WAIT_UNTIL(acked(t, b) == 0);
    publish(t, 3, 100);
    WAIT_UNTIL(topic_ack_mark(t)->at == 3);
    turn_for(100);
    CHECK_EQ(topic_readable(t), 3);
    CHECK_EQ(topic_at(b, "t")->tail.at, 0);          /* nobody has let it go */
    CHECK_EQ(t->peers.at, 0);
    t->lead->ship = 2;
    topic_settle(t);
    WAIT_UNTIL(t->peers.at >= 2);
    turn_for(50);
    CHECK_EQ(topic_at(b, "t")->tail.at, 2);
    CHECK_EQ(t->peers.at, 2);
    ship(t);
    WAIT_UNTIL(topic_readable(topic_at(b, "t")) == 3);
    check_same_topic(a, b, "t");
    rig_down();
}

TEST(test_wal_is_never_shipped_before_it_is_on_the_leaders_disk)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic *t = make_wal(a, "t");
    WAIT_UNTIL(acked(t, b) == 0);
    a->syncs_not = true;
    publish(t, 1, 100);
    ship(t);
    turn_for(100);
    CHECK_EQ(t->written.at, 1);
    CHECK_EQ(topic_at(b, "t")->tail.at, 0);
    a->syncs_not = false;
    WAIT_UNTIL(topic_at(b, "t")->disk.at == 1);
    rig_down();
}

/* Lignum-Ack: peers, as l_append does it. */
TEST(test_a_wal_topic_can_wait_for_peers)
{
    rig_up(2);
    struct topic *t = make_wal(&rig.nodes[0], "t");
    WAIT_UNTIL(acked(t, &rig.nodes[1]) == 0);
    rig.nodes[1].syncs_not = true;
    publish(t, 1, 100);
    t->lead->ship = 1;
    WAIT_UNTIL(topic_at(&rig.nodes[1], "t")->written.at == 1);
    turn_for(50);
    CHECK_EQ(topic_ack_mark(t)->at, 1);
    CHECK_EQ(t->peers.at, 0);
    rig.nodes[1].syncs_not = false;
    WAIT_UNTIL(t->peers.at == 1);
    rig_down();
}

TEST(test_a_follower_shows_no_more_than_its_disk_has)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic *t = make_wal(a, "t");
    WAIT_UNTIL(acked(t, b) == 0);
    b->syncs_not = true;
    publish(t, 1, 100);
    ship(t);
    WAIT_UNTIL(topic_readable(t) == 1);
    WAIT_UNTIL(topic_at(b, "t")->follow->told_readable == 1 && topic_at(b, "t")->written.at == 1);
    turn_for(50);
    CHECK_EQ(topic_readable(topic_at(b, "t")), 0);
    b->syncs_not = false;
    WAIT_UNTIL(topic_readable(topic_at(b, "t")) == 1);
    rig_down();
}

static int sync_slowly(int fd)
{
    struct timespec a_slow_disk = {.tv_nsec = 100 * NS_PER_MS};
    nanosleep(&a_slow_disk, NULL);
    return fdatasync(fd);
}

TEST(test_a_follower_acknowledges_what_a_sync_covers_and_not_what_came_since)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic *t = make_live(a, "t");
    WAIT_UNTIL(acked(t, b) == 0);
    b->syncs_not = true;
    publish(t, 1, 100);
    WAIT_UNTIL(topic_at(b, "t")->written.at == 1);
    io.sync_data = sync_slowly;
    store_sync(b->store);                            /* of the first one, and no more */
    publish(t, 1, 100);
    WAIT_UNTIL(topic_at(b, "t")->written.at == 2);
    CHECK_EQ(topic_at(b, "t")->disk.at, 0);
    WAIT_UNTIL(acked(t, b) > 0);
    CHECK_EQ(acked(t, b), 1);
    WAIT_UNTIL(t->disk.at == 2);
    CHECK_EQ(t->peers.at, 1);
    b->syncs_not = false;
    WAIT_UNTIL(t->peers.at == 2);
    rig_down();
}

/* ---- modes ---- */

static void switch_to(struct node *leader, struct topic *t, enum replication replication)
{
    struct topic_settings s = *t->settings;
    uint64_t want;
    s.replication = replication;
    CHECK_EQ(topics_set(leader->topics, t, &s, &want), 0);
    WAIT_UNTIL(t->settings->replication == replication);
}

TEST(test_a_topic_changes_its_mode_and_what_is_readable_never_goes_back)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic *t = make_wal(a, "t");
    WAIT_UNTIL(acked(t, b) == 0);
    publish(t, 2, 100);
    WAIT_UNTIL(topic_readable(t) == 2);
    b->paused = true;
    uint64_t want;
    struct topic_settings live = settings_of(REPLICATION_LIVE);
    CHECK_EQ(topics_set(a->topics, t, &live, &want), 0);
    turn_for(50);
    CHECK_EQ(t->settings->replication, REPLICATION_WAL);   /* not before the set has it */
    b->paused = false;
    WAIT_UNTIL(t->settings->replication == REPLICATION_LIVE);
    CHECK_EQ(topic_readable(t), 2);
    publish(t, 1, 100);
    WAIT_UNTIL(t->peers.at == 3 && topic_readable(topic_at(b, "t")) == 3);   /* with what was not yet shipped */
    switch_to(a, t, REPLICATION_WAL);
    publish(t, 1, 100);
    WAIT_UNTIL(topic_ack_mark(t)->at == 4);
    turn_for(50);
    CHECK_EQ(topic_at(b, "t")->tail.at, 3);
    WAIT_UNTIL(topic_at(b, "t")->settings->replication == REPLICATION_WAL);
    ship(t);
    WAIT_UNTIL(topic_readable(topic_at(b, "t")) == 4);
    check_same_topic(a, b, "t");
    rig_down();
}

/* Nobody waits for a node that has yet to come in, and what it syncs the others feel. */
TEST(test_a_node_that_catches_up_syncs_seldom_until_it_has_what_the_others_have)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1], *c = node_up(2);
    struct topic *t = make_live(a, "t");
    WAIT_UNTIL(acked(t, b) == 0);
    for (unsigned i = 0; i < 300; i++)
        publish(t, 1, 100 * KIB);
    WAIT_UNTIL(t->peers.at == 300);
    uint64_t before = c->store->stats.syncs;
    join(c, a);
    CHECK_EQ(acked(t, c), 300);
    CHECK(c->store->stats.syncs - before < 20);
    before = c->store->stats.syncs;
    for (unsigned i = 0; i < 5; i++) {
        publish(t, 1, 100);
        WAIT_UNTIL(t->peers.at == 301 + i);          /* which is at once, now that it counts */
    }
    CHECK(c->store->stats.syncs - before >= 5);
    rig_down();
}

/* A leader has acknowledged a change, and the next one has its record but has not been told that it is committed. */
TEST(test_a_new_leader_takes_nothing_before_changes_that_were_acknowledged)
{
    rig_up(3);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1], *c = &rig.nodes[2];
    struct topic *t = make_live(a, "t");
    WAIT_UNTIL(acked(t, b) == 0 && acked(t, c) == 0);
    uint64_t want;
    CHECK_EQ(topics_delete(a->topics, t, &want), 0);
    struct topic *log = topics_find(b->topics, SLICE("_topics"));
    WAIT_UNTIL(log->disk.at == want);
    a->paused = c->paused = true;
    CHECK(topic_at(b, "t") != NULL);
    lead(b);
    CHECK_EQ(try_publish(topic_at(b, "t"), 10, "into what is deleted"), -ERR_UNAVAILABLE);
    turn_for(50);
    CHECK_EQ(try_publish(topic_at(b, "t"), 10, "into what is deleted"), -ERR_UNAVAILABLE);
    c->paused = false;
    follow(c, b);
    WAIT_UNTIL(topic_at(b, "t") == NULL);
    struct topic *u = make_live(b, "t");
    CHECK_EQ(try_publish(u, 10, "into a new one"), 0);
    rig_down();
}

/* Of what no member has acknowledged yet a leader cannot know, and perhaps not for as long as one is away. */
TEST(test_changes_that_wait_for_a_member_hold_up_only_the_topics_that_they_are_about)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic *t = make_wal(a, "t"), *u = make_wal(a, "u"), *v = make_wal(a, "v");
    struct topic_settings longer = *u->settings, wal = settings_of(REPLICATION_WAL);
    uint64_t want, made;
    WAIT_UNTIL(acked(t, b) == 0 && acked(u, b) == 0 && acked(v, b) == 0);
    b->paused = true;
    longer.retain.messages = 1000;
    CHECK_EQ(topics_set(a->topics, u, &longer, &want), 0);
    CHECK_EQ(topics_delete(a->topics, v, &want), 0);
    CHECK_EQ(topics_create(a->topics, SLICE("w"), &wal, &want), 0);
    turn_for(50);
    CHECK_EQ(try_publish(t, 10, "before"), 0);
    cluster_resign(a->cluster, "a test");
    lead(a);
    CHECK_EQ(try_publish(t, 10, "no change is about it"), 0);
    CHECK_EQ(try_publish(u, 10, "by old settings"), -ERR_UNAVAILABLE);
    CHECK_EQ(try_publish(v, 10, "into what is deleted"), -ERR_UNAVAILABLE);
    CHECK_EQ(topics_settings_to_be(a->topics, u).retain.messages, 1000);
    CHECK_EQ(topics_set(a->topics, v, &longer, &made), -ERR_UNKNOWN_TOPIC);
    CHECK_EQ(topics_create(a->topics, SLICE("x"), &wal, &made), 0);
    CHECK_EQ(topics_create(a->topics, SLICE("w"), &wal, &made), 0);      /* that is on its way already */
    CHECK_EQ(made, want);
    turn_for(50);
    CHECK_EQ(try_publish(u, 10, "by old settings"), -ERR_UNAVAILABLE);
    b->paused = false;
    follow(b, a);
    WAIT_UNTIL(topic_at(a, "w") != NULL);
    CHECK_EQ(u->settings->retain.messages, 1000);
    CHECK(topic_at(a, "v") == NULL);
    CHECK_EQ(try_publish(u, 10, "by new settings"), 0);
    rig_down();
}

/* A turn in which nothing that is committed takes effect. */
static void half_turn(struct node *n)
{
    cluster_receive(n->cluster);
    store_flush(n->store);
    cluster_send(n->cluster);
}

static void switch_durability(struct node *leader, struct topic *t, enum durability durability)
{
    struct topic_settings s = *t->settings;
    uint64_t want;
    s.durability = durability;
    CHECK_EQ(topics_set(leader->topics, t, &s, &want), 0);
}

TEST(test_what_a_follower_has_not_synced_does_not_count_once_the_leader_asks_for_that)
{
    rig.lag_max_ns = 500 * NS_PER_MS;
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic_settings os = settings_of(REPLICATION_LIVE);
    os.durability = DURABILITY_OS;
    struct topic *t = make_topic(a, "t", &os), *u;
    publish(t, 1, 100);
    WAIT_UNTIL(t->peers.at == 1 && topic_readable(topic_at(b, "t")) == 1);
    u = topic_at(b, "t");
    CHECK_EQ(u->disk.at, 0);
    turn_for(600);                                   /* idle for longer than a member may be behind */
    switch_durability(a, t, DURABILITY_COMMIT);
    WAIT_UNTIL(acked(topics_log(a->topics), b) == topics_log(a->topics)->tail.at);
    b->paused = true;                                /* it has the change, and does not know that it is committed */
    WAIT_UNTIL((half_turn(b), t->settings->durability == DURABILITY_COMMIT));
    CHECK_EQ(u->settings->durability, DURABILITY_OS);
    publish(t, 1, 100);
    for (int i = 0; i < 20; i++) {
        half_turn(b);
        turn_for(5);
    }
    CHECK_EQ(u->written.at, 2);
    CHECK_EQ(u->disk.at, 0);
    CHECK_EQ(t->disk.at, 2);
    CHECK_EQ(t->peers.at, 1);
    CHECK_EQ(acked(t, b), 0);
    CHECK(in_set(a, b));
    b->paused = false;
    WAIT_UNTIL(t->peers.at == 2);
    CHECK_EQ(u->disk.at, 2);
    CHECK_EQ(acked(t, b), 2);
    rig_down();
}

TEST(test_a_follower_that_has_synced_at_a_change_says_so_without_another_message)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic_settings os = settings_of(REPLICATION_LIVE);
    os.durability = DURABILITY_OS;
    struct topic *t = make_topic(a, "t", &os);
    publish(t, 3, 100);
    WAIT_UNTIL(t->peers.at == 3);
    switch_durability(a, t, DURABILITY_COMMIT);
    WAIT_UNTIL(t->settings->durability == DURABILITY_COMMIT && acked(t, b) == 3);
    CHECK_EQ(topic_at(b, "t")->disk.at, 3);
    switch_durability(a, t, DURABILITY_OS);
    WAIT_UNTIL(topic_at(b, "t")->settings->durability == DURABILITY_OS);
    b->syncs_not = true;
    publish(t, 1, 100);
    WAIT_UNTIL(t->peers.at == 4);
    rig_down();
}

/* It connects anew meanwhile. What it has is not all on its disk; but it never said so. */
TEST(test_a_member_that_has_not_heard_of_a_change_of_durability_is_not_one_that_has_forgotten)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic_settings os = settings_of(REPLICATION_LIVE);
    struct peer_info peer;
    os.durability = DURABILITY_OS;
    struct topic *t = make_topic(a, "t", &os);
    publish(t, 3, 100);
    WAIT_UNTIL(t->peers.at == 3);
    switch_durability(a, t, DURABILITY_COMMIT);
    WAIT_UNTIL(acked(topics_log(a->topics), b) == topics_log(a->topics)->tail.at);
    b->paused = true;
    WAIT_UNTIL((half_turn(b), t->settings->durability == DURABILITY_COMMIT));
    CHECK_EQ(topic_at(b, "t")->settings->durability, DURABILITY_OS);
    b->paused = false;
    cluster_follow(b->cluster, NULL);
    WAIT_UNTIL(acked(t, b) == UINT64_MAX);
    follow(b, a);
    WAIT_UNTIL(acked(t, b) != UINT64_MAX);
    CHECK_EQ(acked(t, b), 0);
    CHECK(leader_peer(cluster_leader(a->cluster), 0, &peer) && peer.counted && !peer.amnesiac);
    CHECK_EQ(topic_at(b, "t")->disk.at, 0);
    WAIT_UNTIL(acked(t, b) == 3);
    publish(t, 1, 100);
    WAIT_UNTIL(t->peers.at == 4);
    CHECK(in_set(a, b));
    rig_down();
}
