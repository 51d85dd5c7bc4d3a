/* Retention, and topics that are made and deleted, while a follower is away or behind. */
#include <time.h>

#include "unit/broker/cluster/diverge_rig.h"

TEST(test_a_follower_that_retention_overtook_begins_at_the_leaders_first)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic_settings s = small_files(REPLICATION_LIVE);
    s.retain.messages = 15;
    struct topic *t = make_topic(a, "t", &s);
    publish(t, 5, 100);
    WAIT_UNTIL(can_read(b, "t", 5));
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
    WAIT_UNTIL(can_read(b, "gone", 5) &&
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
