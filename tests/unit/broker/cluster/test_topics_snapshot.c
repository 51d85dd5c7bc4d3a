/* Nodes that follow a leader whose log of topics begins with a snapshot. */
#include "broker/topic/topics_struct.h"
#include "unit/broker/cluster/diverge_rig.h"

static void settle_log(struct node *n)
{
    struct topic *log = topics_log(n->topics);
    WAIT_UNTIL(log->peers.at == log->tail.at && !topics_have_unapplied(n->topics));
}

/* Records that change nothing until there is a snapshot, and the files below it are removed. */
static void compact(struct node *leader, struct topic *t)
{
    uint64_t want, first = topic_first(topics_log(leader->topics));
    for (int i = 0; i < 2 * TOPIC_LOG_GROWTH / 400; i++)
        CHECK_EQ(topics_set(leader->topics, t, t->settings, &want), 0);
    settle_log(leader);
    WAIT_UNTIL((topics_trim(leader->topics), topic_first(topics_log(leader->topics)) > first));
}

static void delete_topic(struct node *n, const char *name)
{
    uint64_t want;
    CHECK_EQ(topics_delete(n->topics, topic_at(n, name), &want), 0);
    WAIT_UNTIL(topic_at(n, name) == NULL);
}

TEST(test_an_empty_node_begins_with_a_snapshot_and_can_lead_by_it)
{
    skip_syncs();
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1], *c;
    make_live(a, "gone");
    struct topic *t = make_live(a, "t");
    publish(t, 5, 100);
    delete_topic(a, "gone");
    compact(a, t);
    c = node_up(2);
    join(c, a);
    WAIT_UNTIL(topic_at(c, "t") != NULL && topic_readable(topic_at(c, "t")) == 5);
    CHECK(topic_id_eq(topic_at(c, "t")->id, t->id));
    CHECK(topic_at(c, "gone") == NULL);
    CHECK(topic_first(topics_log(c->topics)) > 0);
    check_same_topic(a, c, "t");
    check_same_topic(a, c, "_topics");
    c = node_restart(c);
    CHECK(topic_at(c, "t") != NULL);
    CHECK(!topics_holdings(c->topics).lacks_topics);
    join(c, a);
    struct topic_id id = t->id;
    node_down(a);
    node_down(b);
    b = node_up(1);
    lead(c);
    follow(b, c);
    WAIT_UNTIL(in_set(c, b));
    make_live(c, "more");
    WAIT_UNTIL(topic_at(b, "more") != NULL && topic_id_eq(topic_at(b, "t")->id, id));
    rig_down();
}

/* Not even an operator can make it lead: its history would be the cluster's, and without a topic. */
TEST(test_a_node_that_does_not_know_its_topics_yet_cannot_lead)
{
    skip_syncs();
    rig_up(2);
    struct node *a = &rig.nodes[0], *c;
    struct topic *t = make_live(a, "t");
    struct topic_settings s = settings_of(REPLICATION_LIVE);
    char name[32];
    uint64_t want;
    for (int i = 0; i < 200; i++) {
        snprintf(name, sizeof(name), "topic-%d", i);
        CHECK_EQ(topics_create(a->topics, slice_from(name), &s, &want), 0);
    }
    settle_log(a);
    compact(a, t);
    c = node_up(2);
    follow(c, a);
    struct topic_log *log = &c->topics->log;
    WAIT_UNTIL(log->state == TOPIC_LOG_LACKING);
    const char *why = "";
    struct synced_register v;
    CHECK(topics_holdings(c->topics).lacks_topics);
    CHECK_EQ(cluster_claim(c->cluster, CLAIM_UNCLEAN, &v, &why), -ERR_NOT_ELIGIBLE);
    CHECK(strstr(why, "which topics there are") != NULL);
    WAIT_UNTIL(log->state == TOPIC_LOG_WHOLE);
    WAIT_UNTIL(topic_at(c, "topic-199") != NULL && in_set(a, c));
    CHECK(!topics_holdings(c->topics).lacks_topics);
    rig_down();
}

/* A start without a leader knows less to be committed than had taken effect before, where a power loss took the note of
 * it, or the node was alone then. */
TEST(test_a_directory_stays_while_its_record_is_not_known_to_be_committed)
{
    skip_syncs();
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    compact(a, make_live(a, "t"));
    publish(make_live(a, "late"), 5, 100);
    WAIT_UNTIL(can_read(a, "late", 5) && can_read(b, "late", 5));
    node_down(a);
    node_down(b);
    CHECK_EQ(run("rm n?/topics/*/checkpoint n?/ends"), 0);
    CHECK_EQ(run("mkdir n1/topics/stray"), 0);
    a = node_up(0);
    b = node_up(1);
    CHECK(topic_at(a, "t") != NULL && topic_at(a, "late") == NULL);
    CHECK_EQ(access("n1/small/late", F_OK), 0);
    lead(a);
    join(b, a);
    WAIT_UNTIL(can_read(a, "late", 5) && can_read(b, "late", 5));
    WAIT_UNTIL(access("n1/topics/stray", F_OK) < 0);
    CHECK_EQ(run("ls -d n1/diverged/stray-*"), 0);
    CHECK_EQ(run("ls -d n?/diverged/late-*") != 0, 1);
    rig_down();
}

/* As after an unclean claim, whose history ends in the file in which a snapshot begins: the second node has cut the
 * snapshot, and its files begin above 0 without one. It is down. */
static void lose_beginning(struct node *b, struct node *a, struct topic *t)
{
    uint64_t want;
    for (int i = 0; i < 14; i++) {
        for (int k = 0; k < 1000; k++)
            CHECK_EQ(topics_set(a->topics, t, t->settings, &want), 0);
        settle_log(a);
    }
    WAIT_UNTIL(can_read(b, t->name, 5) && topics_log(b->topics)->disk.at == topics_log(a->topics)->tail.at);
    node_down(b);
    CHECK_EQ(run("cd n2 && rm topics/_topics/checkpoint topics/_topics/00000000000000000000.*"), 0);
}

TEST(test_a_node_that_lacks_a_snapshot_takes_a_list_that_is_whole_from_its_beginning)
{
    skip_syncs();
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic *t = make_live(a, "t");
    publish(t, 5, 100);
    lose_beginning(b, a, t);
    b = node_up(1);
    CHECK(topic_first(topics_log(b->topics)) > 0);
    CHECK(topics_holdings(b->topics).lacks_topics);
    follow(b, a);
    WAIT_UNTIL(!in_set(a, b));                       /* its copy might be needed until then */
    WAIT_UNTIL((node_see(b), topic_at(b, "t") != NULL) && can_read(b, "t", 5) && in_set(a, b));
    check_same_topic(a, b, "_topics");
    check_same_topic(a, b, "t");
    CHECK_EQ(b->topics->log.state, TOPIC_LOG_WHOLE);
    CHECK(!topics_undone(b->topics));
    make_live(a, "more");
    WAIT_UNTIL(topic_at(b, "more") != NULL);
    rig_down();
}

/* As where the list was damaged, and an operator has moved it away: the node has topics whose records come only after
 * the snapshot, and the leader is slow. */
TEST(test_directories_stay_while_the_leader_has_more_records)
{
    skip_syncs();
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic *t = make_live(a, "t"), *log = topics_log(a->topics);
    uint64_t want;
    compact(a, t);
    for (int i = 0; i < 10000; i++)
        CHECK_EQ(topics_set(a->topics, t, t->settings, &want), 0);
    publish(make_live(a, "young"), 5, 100);
    settle_log(a);
    WAIT_UNTIL(can_read(a, "young", 5) && can_read(b, "young", 5));
    node_down(b);
    CHECK_EQ(run("mv n2/topics/_topics . && mkdir n2/topics/stray"), 0);
    b = node_up(1);
    follow(b, a);
    WAIT_UNTIL(b->topics->log.state == TOPIC_LOG_WHOLE && b->topics->log.applied.at > 0);
    CHECK(topics_log(b->topics)->tail.at < log->tail.at);
    a->paused = true;
    WAIT_UNTIL(b->topics->log.applied.at == topics_log(b->topics)->tail.at);
    turn_for(100);
    CHECK(b->topics->log.applied.at < log->tail.at);
    a->paused = false;
    WAIT_UNTIL(can_read(b, "young", 5));
    WAIT_UNTIL(access("n2/topics/stray", F_OK) < 0);
    CHECK_EQ(run("ls -d n2/diverged/stray-*"), 0);
    CHECK(run("ls -d n2/diverged/young-*") != 0);
    rig_down();
}

/* Of a node that does not know its topics at its start they are opened when the list has come. */
TEST(test_what_is_missing_of_a_topic_that_is_opened_late_is_damage)
{
    skip_syncs();
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic *t = make_live(a, "t");
    publish(t, 4, 100);
    WAIT_UNTIL(can_read(b, "t", 4));
    uint64_t end = topic_at(b, "t")->journal->parts.active->size;
    publish(t, 1, 100);
    WAIT_UNTIL(can_read(b, "t", 5));
    lose_beginning(b, a, t);
    char command[128];
    snprintf(command, sizeof command, "truncate -s %llu n2/small/t && truncate -s 4096 n2/small/t",
             (unsigned long long)end);
    CHECK_EQ(run(command), 0);
    b = node_up(1);
    CHECK(topics_holdings(b->topics).lacks_topics);
    b = node_restart(b);                             /* where the topic ended is known after that, too */
    follow(b, a);
    WAIT_UNTIL((node_see(b), topic_at(b, "t") != NULL));
    CHECK(store_is_damaged(b->store));
    WAIT_UNTIL((node_see(b), can_read(b, "t", 5)) && in_set(a, b) && !store_is_damaged(b->store));
    check_same_topic(a, b, "t");
    rig_down();
}
