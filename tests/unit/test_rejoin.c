/* Followers that come back to a leader which cannot show them all of what they have in common, or not any more. */
#include "cluster_rig.h"

static struct topic *both_have(const char *name, enum replication replication, unsigned count)
{
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic_settings s = settings_of(replication);
    s.segment_messages = 10;
    struct topic *t = make_topic(a, name, &s);
    publish(t, count, 100);
    ship(t);
    WAIT_UNTIL(topic_at(b, name) != NULL && topic_readable(topic_at(b, name)) == count);
    WAIT_UNTIL(topic_at(b, name)->peers.at == count);
    return t;
}

/* What a leader of `wal` topics says that it has may be far more than it has sent. */
TEST(test_what_an_old_leader_said_of_offsets_that_never_came_is_not_said_of_others)
{
    rig_up(3);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1], *c = &rig.nodes[2];
    struct topic *t = both_have("t", REPLICATION_WAL, 5), *u = topic_at(b, "t");
    WAIT_UNTIL(topic_at(c, "t") != NULL && topic_readable(topic_at(c, "t")) == 5);
    publish(t, 20, 100);
    WAIT_UNTIL(u->told_readable == 25 && topic_at(c, "t")->told_readable == 25);
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
    WAIT_UNTIL(u->settings.replication == REPLICATION_LIVE);
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
