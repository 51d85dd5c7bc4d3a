/* The set of topics: its log, its effects, and what a restart makes of it. The store below is the real one. */
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "broker/topic/topics_struct.h"
#include "unit/topics_rig.h"

TEST(test_a_topic_exists_only_once_its_record_is_committed)
{
    struct node n;
    uint64_t want;
    node_open(&n);
    CHECK_EQ(topics_create(n.topics, SLICE("orders"), &settings_default, &want), 0);
    CHECK(topics_find(n.topics, SLICE("orders")) == NULL);
    settle(&n, topics_log(n.topics));
    CHECK(topics_find(n.topics, SLICE("orders")) != NULL);
    node_close(&n);
}

/* The order of the records decides, also where both were asked for before either took effect. */
TEST(test_a_fork_and_the_deletion_of_its_source_take_effect_in_order)
{
    struct node n;
    node_open(&n);
    struct topic *a = create(&n, "a"), *b = create(&n, "b");
    create_from(&n, "fork-a", a->id);
    delete(&n, "a");
    delete(&n, "b");
    create_from(&n, "fork-b", b->id);
    settle(&n, topics_log(n.topics));
    for (int opened = 0; opened < 2; opened++) {
        a = topics_find(n.topics, SLICE("a"));
        CHECK(a != NULL && a->gone && a->dependents == 1);
        CHECK(topics_find(n.topics, SLICE("fork-a")) != NULL);
        CHECK(topics_find(n.topics, SLICE("b")) == NULL);
        CHECK(topics_find(n.topics, SLICE("fork-b")) == NULL);
        node_close(&n);
        node_open(&n);
    }
    delete(&n, "fork-a");
    settle(&n, topics_log(n.topics));
    CHECK(topics_find(n.topics, SLICE("a")) == NULL);
    node_close(&n);
    node_open(&n);
    CHECK(topics_find(n.topics, SLICE("a")) == NULL);
    node_close(&n);
}

TEST(test_creating_twice_at_once_makes_one_topic)
{
    struct node n;
    uint64_t a;
    uint64_t b;
    struct topic_settings other = settings_default;
    other.copies = 2;
    node_open(&n);
    CHECK_EQ(topics_create(n.topics, SLICE("t"), &settings_default, &a), 0);
    CHECK_EQ(topics_create(n.topics, SLICE("t"), &settings_default, &b), 0);
    CHECK_EQ(a, b);
    CHECK_EQ(topics_create(n.topics, SLICE("t"), &other, &b), -ERR_TOPIC_EXISTS);
    settle(&n, topics_log(n.topics));
    CHECK_EQ(topics_count(n.topics), 2);
    CHECK_EQ(topics_create(n.topics, SLICE("t"), &settings_default, &b), -ERR_TOPIC_EXISTS);
    node_close(&n);
}

/* Creations that have not taken effect yet count, too; a deletion makes room when it has. */
TEST(test_no_more_topics_are_created_than_the_limit_allows)
{
    struct node n;
    uint64_t want;
    node_open(&n);
    topics_set_most(n.topics, 3);
    CHECK_EQ(topics_create(n.topics, SLICE("a"), &settings_default, &want), 0);
    CHECK_EQ(topics_create(n.topics, SLICE("b"), &settings_default, &want), 0);
    CHECK_EQ(topics_create(n.topics, SLICE("c"), &settings_default, &want), -ERR_TOO_MANY_TOPICS);
    CHECK_EQ(topics_create(n.topics, SLICE("b"), &settings_default, &want), 0);
    settle(&n, topics_log(n.topics));
    CHECK_EQ(topics_count(n.topics), 3);
    delete(&n, "a");
    CHECK_EQ(topics_create(n.topics, SLICE("c"), &settings_default, &want), -ERR_TOO_MANY_TOPICS);
    settle(&n, topics_log(n.topics));
    create(&n, "c");
    topics_set_most(n.topics, 1);       /* what there is stays, also after a restart */
    CHECK_EQ(topics_count(n.topics), 3);
    node_close(&n);
    node_open(&n);
    CHECK_EQ(topics_count(n.topics), 3);
    node_close(&n);
}

TEST(test_topics_and_messages_are_there_after_a_restart)
{
    struct node n;
    node_open(&n);
    struct topic *t = create(&n, "orders");
    struct topic_id id = t->id;
    CHECK_EQ(append(t, "one"), 0);
    CHECK_EQ(append(t, "two"), 1);
    settle(&n, t);
    uint64_t epoch = n.role.epoch;
    node_close(&n);
    node_open(&n);
    t = topics_find(n.topics, SLICE("orders"));
    CHECK(t != NULL);
    CHECK_EQ(t->id.offset, id.offset);
    CHECK_EQ(t->tail.at, 2);
    CHECK_EQ(topic_readable(t), 2);
    CHECK_EQ(n.role.epoch, epoch + 1);
    CHECK_EQ(append(t, "three"), 2);
    settle(&n, t);
    node_close(&n);
}

TEST(test_a_change_of_one_topics_settings_leaves_others_that_were_alike)
{
    struct node n;
    uint64_t want;
    node_open(&n);
    struct topic *a = create(&n, "a"), *b = create(&n, "b");
    struct topic_settings s = settings_default;
    s.retain.messages = 77;
    CHECK_EQ(topics_set(n.topics, a, &s, &want), 0);
    settle(&n, topics_log(n.topics));
    CHECK(settings_equal(a->settings, &s));
    CHECK(settings_equal(b->settings, &settings_default));
    CHECK_EQ(topics_set(n.topics, a, &settings_default, &want), 0);
    settle(&n, topics_log(n.topics));
    CHECK(a->settings == b->settings);           /* kept once again */
    node_close(&n);
}

TEST(test_settings_that_are_set_back_to_their_defaults_stay_so)
{
    struct node n;
    uint64_t want;
    struct topic_settings s = settings_default;
    s.retain.messages = 77;
    s.durability = DURABILITY_OS;
    node_open(&n);
    CHECK_EQ(topics_create(n.topics, SLICE("t"), &s, &want), 0);
    settle(&n, topics_log(n.topics));
    CHECK_EQ(topics_create(n.topics, SLICE("plain"), &settings_default, &want), 0);
    settle(&n, topics_log(n.topics));
    for (int changed = 0; changed < 2; changed++) {
        CHECK(settings_equal(topics_find(n.topics, SLICE("t"))->settings, changed ? &settings_default : &s));
        CHECK(settings_equal(topics_find(n.topics, SLICE("plain"))->settings, &settings_default));
        CHECK_EQ(topics_set(n.topics, topics_find(n.topics, SLICE("t")), &settings_default, &want), 0);
        settle(&n, topics_log(n.topics));
        node_close(&n);
        node_open(&n);
    }
    CHECK(settings_equal(topics_find(n.topics, SLICE("t"))->settings, &settings_default));
    node_close(&n);
}

TEST(test_a_deleted_topic_is_gone_and_its_name_begins_anew)
{
    struct node n;
    uint64_t want;
    node_open(&n);
    struct topic *t = create(&n, "t");
    append(t, "old");
    settle(&n, t);
    struct topic_ref ref = topic_ref(t);
    CHECK_EQ(topics_delete(n.topics, t, &want), 0);
    CHECK_EQ(topics_may_append(t), -ERR_UNKNOWN_TOPIC);
    settle(&n, topics_log(n.topics));
    CHECK(topics_find(n.topics, SLICE("t")) == NULL);
    CHECK(topic_deref(n.topics, ref) == NULL);
    t = create(&n, "t");
    CHECK(topic_deref(n.topics, ref) == NULL);
    CHECK_EQ(t->tail.at, 0);
    node_close(&n);
    node_open(&n);
    CHECK_EQ(topics_find(n.topics, SLICE("t"))->tail.at, 0);
    node_close(&n);
}

TEST(test_a_file_that_outlived_its_delete_record_is_moved_aside_for_its_successor)
{
    struct node n;
    uint64_t want;
    node_open(&n);
    struct topic *t = create(&n, "t");
    append(t, "old");
    settle(&n, t);
    CHECK_EQ(link("data/small/t", "kept"), 0);
    CHECK_EQ(topics_delete(n.topics, t, &want), 0);
    settle(&n, topics_log(n.topics));
    create(&n, "t");
    node_close(&n);
    CHECK_EQ(rename("kept", "data/small/t"), 0);    /* as if the rename into the trash had been lost */
    node_open(&n);
    t = topics_find(n.topics, SLICE("t"));
    CHECK(t != NULL);
    CHECK_EQ(t->tail.at, 0);
    node_close(&n);
}

static uint64_t changed_retention(struct node *n, struct topic *t)
{
    struct topic_settings s = *t->settings;
    uint64_t want;
    s.retain.messages = 10;
    CHECK_EQ(topics_set(n->topics, t, &s, &want), 0);
    settle(n, topics_log(n->topics));
    return t->settings->retain.messages;
}

TEST(test_a_node_that_starts_with_a_clock_behind_its_messages_goes_on_from_them)
{
    static const int64_t days = 2 * INT64_C(24) * 3600 * 1000;
    struct node n;
    struct buf messages = {0};
    message_write(&messages, &(struct message){.payload = SLICE("x")});
    node_open(&n);
    struct topic *t = create(&n, "t");
    int64_t now_ms = clock_wall_ms();
    struct append a = {.messages = buf_slice(&messages), .count = 1, .epoch = n.role.epoch, .time_ms = now_ms + days};
    uint64_t first;
    CHECK_EQ(journal_append(t->journal, &a, &first), 0);
    node_close(&n);
    node_open(&n);
    CHECK_EQ(topics_date(n.topics) >= now_ms + days, !clock_is_set());
    CHECK(topics_date(n.topics) >= now_ms);
    node_close(&n);
    buf_fini(&messages);
}

TEST(test_changed_settings_are_kept)
{
    struct node n;
    node_open(&n);
    CHECK_EQ(changed_retention(&n, create(&n, "t")), 10);
    node_close(&n);
    node_open(&n);
    CHECK_EQ(topics_find(n.topics, SLICE("t"))->settings->retain.messages, 10);
    node_close(&n);
}

TEST(test_the_log_of_topics_cannot_be_changed_by_clients)
{
    struct node n;
    uint64_t want;
    node_open(&n);
    struct topic *log = topics_log(n.topics);
    CHECK_EQ(topics_delete(n.topics, log, &want), -ERR_FORBIDDEN);
    CHECK_EQ(topics_set(n.topics, log, &settings_default, &want), -ERR_FORBIDDEN);
    CHECK_EQ(topics_create(n.topics, SLICE("_topics"), &settings_default, &want), -ERR_BAD_TOPIC);
    node_close(&n);
}

TEST(test_topic_names_are_refused_by_the_rules)
{
    static const char *const bad[] = {"", ".", "..", ".a", "-a", "_a", "a b", "a/b", "a\n", "\xc3\xa9"};
    char longest[TOPIC_NAME_MAX + 2];
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        CHECK(!topic_name_ok(slice_from(bad[i])));
    memset(longest, 'x', sizeof(longest));
    CHECK(topic_name_ok(slice_of(longest, TOPIC_NAME_MAX)));
    CHECK(!topic_name_ok(slice_of(longest, TOPIC_NAME_MAX + 1)));
    CHECK(topic_name_ok(SLICE("Orders.2026-11_a")));
}

TEST(test_live_with_more_copies_than_nodes_is_refused_not_weakened)
{
    struct node n;
    uint64_t want;
    struct topic_settings s = settings_default;
    s.replication = REPLICATION_LIVE;
    s.copies = 2;
    node_open(&n);
    CHECK_EQ(topics_create(n.topics, SLICE("t"), &s, &want), 0);
    settle(&n, topics_log(n.topics));
    CHECK_EQ(topics_may_append(topics_find(n.topics, SLICE("t"))), -ERR_NO_COPIES);
    node_close(&n);
}

/* A follower's clock may be ahead of the leader's, whose dates the messages bear. */
TEST(test_a_follower_deletes_nothing_by_its_own_clock)
{
    struct node n;
    uint64_t want;
    struct topic_settings s = settings_default;
    s.segment_messages = 1;
    s.retain.age_ms = 3600 * 1000;
    node_open(&n);
    CHECK_EQ(topics_create(n.topics, SLICE("t"), &s, &want), 0);
    settle(&n, topics_log(n.topics));
    struct topic *t = topics_find(n.topics, SLICE("t"));
    struct buf messages = {0};
    message_write(&messages, &(struct message){.payload = SLICE("x")});
    struct append a = {.messages = buf_slice(&messages), .count = 1, .epoch = n.role.epoch,
                       .time_ms = clock_wall_ms() - 2 * s.retain.age_ms};
    for (uint64_t first = 0; first < 2;) {
        CHECK_EQ(journal_append(t->journal, &a, &first), 0);
        mark_advance(&t->tail, ++first);
    }
    settle(&n, t);
    node_close(&n);
    node_open(&n);        /* the first file is sealed */
    t = topics_find(n.topics, SLICE("t"));
    enum role_kind kind = n.role.kind;
    n.role.kind = ROLE_FOLLOWER;
    topics_trim(n.topics);
    CHECK_EQ(topic_first(t), 0);
    n.role.kind = kind;
    topics_trim(n.topics);
    CHECK_EQ(topic_first(t), 1);
    buf_fini(&messages);
    node_close(&n);
}

/* The CPU time of so many changes, each of another topic, with those before them under way. */
static uint64_t time_of_changes(struct node *n, unsigned from, unsigned count)
{
    struct timespec begun, ended;
    char name[16];
    uint64_t want;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begun);
    for (unsigned i = from; i < from + count; i++) {
        snprintf(name, sizeof name, "t-%u", i);
        CHECK_EQ(topics_create(n->topics, slice_from(name), &settings_default, &want), 0);
    }
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ended);
    return (uint64_t)(ended.tv_sec - begun.tv_sec) * NS_PER_S + (uint64_t)ended.tv_nsec - (uint64_t)begun.tv_nsec;
}

TEST(test_a_change_takes_no_longer_while_many_are_under_way)
{
    struct node n;
    node_open(&n);
    uint64_t first = time_of_changes(&n, 0, 2000);
    time_of_changes(&n, 2000, 38000);
    CHECK(time_of_changes(&n, 40000, 2000) < 8 * first);
    topics_fail(n.topics, -ERR_NOT_LEADER);          /* and all of them are forgotten */
    CHECK(list_empty(&n.topics->log.changes));
    CHECK(topic_log_find(&n.topics->log, SLICE("t-7")) == NULL);
    node_close(&n);
}
