/* Snapshots in the log of topics: when a leader appends one, what goes by it, and what a node makes of it. */
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/topic/topics_struct.h"
#include "store/log/store_struct.h"
#include "unit/topics_rig.h"

/* Records that change nothing, of about 400 bytes each. */
static void fill_log(struct node *n, const char *name, int size)
{
    struct topic *t = topics_find(n->topics, slice_from(name));
    uint64_t want, before = topics_log(n->topics)->tail.at;
    for (int i = 0; i < size / 400; i++)
        CHECK_EQ(topics_set(n->topics, t, t->settings, &want), 0);
    CHECK_EQ(topics_log(n->topics)->tail.at, before + (uint64_t)size / 400);
}

static void trim(struct node *n)
{
    settle(n, topics_log(n->topics));
    worker_wait(n->store->disk.worker);              /* files that are full are sealed */
    store_collect(n->store);
    topics_trim(n->topics);
    worker_wait(n->store->disk.worker);
}

struct expected {
    const char *name;
    struct topic_id id, source;
    unsigned dependents;
    bool gone;
    const char *label;
    uint64_t messages;
};

static struct expected expect(struct node *n, const char *name)
{
    const struct topic *t = topics_find(n->topics, slice_from(name));
    CHECK(t != NULL);
    return (struct expected){.name = name, .id = t->id, .source = topic_birth(t).source, .dependents = t->dependents,
                             .gone = t->gone, .messages = t->settings->retain.messages};
}

static void check(struct node *n, const struct expected *e)
{
    const struct topic *t = topics_find(n->topics, slice_from(e->name));
    CHECK(t != NULL && topic_id_eq(t->id, e->id) && topic_id_eq(topic_birth(t).source, e->source));
    CHECK(t->dependents == e->dependents && t->gone == e->gone && t->settings->retain.messages == e->messages);
    slice label = header_named(topic_birth(t).labels, SLICE("for"));
    CHECK(e->label == NULL ? label.n == 0 : slice_eq(label, slice_from(e->label)));
}

TEST(test_what_a_snapshot_keeps_is_what_its_log_made)
{
    struct node n;
    struct buf labels = {0};
    uint64_t want;
    node_open(&n);
    header_write(&labels, SLICE("for"), SLICE("me"));
    struct topic_settings s = settings_default;
    s.retain.messages = 7;
    struct topic_plan plan = {SLICE("labelled"), &s, {.labels = buf_slice(&labels)}};
    CHECK_EQ(topics_create_born(n.topics, &plan, &want), 0);
    struct topic *source = create(&n, "source"), *again = create(&n, "again");
    create_from(&n, "fork-1", source->id);
    create_from(&n, "fork-2", source->id);
    settle(&n, topics_log(n.topics));
    append(source, "one");
    settle(&n, source);
    delete(&n, "source");                            /* it is gone, and stays for its forks */
    delete(&n, "again");
    settle(&n, topics_log(n.topics));
    again = create(&n, "again");
    append(again, "first");
    settle(&n, again);

    struct expected all[] = {expect(&n, "labelled"), expect(&n, "source"), expect(&n, "again"), expect(&n, "fork-1"),
                             expect(&n, "fork-2")};
    all[0].label = "me";
    CHECK(all[1].gone && all[1].dependents == 2 && all[0].messages == 7);
    fill_log(&n, "again", 2 * TOPIC_LOG_GROWTH);
    trim(&n);
    uint64_t first = topic_first(topics_log(n.topics));
    CHECK(first > 0);
    for (int opened = 0; opened < 3; opened++) {
        CHECK_EQ(topics_count(n.topics), 1 + sizeof(all) / sizeof(all[0]));
        for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
            check(&n, &all[i]);
        CHECK_EQ(topics_find(n.topics, SLICE("again"))->tail.at, 1);
        CHECK_EQ(topics_find(n.topics, SLICE("source"))->tail.at, 1);
        if (opened == 1) {                           /* and the next snapshot follows from this one */
            fill_log(&n, "again", 2 * TOPIC_LOG_GROWTH);
            fill_log(&n, "again", 2 * TOPIC_LOG_GROWTH);
            trim(&n);
            CHECK(topic_first(topics_log(n.topics)) > first);
        }
        node_close(&n);
        node_open(&n);
    }
    delete(&n, "fork-1");
    delete(&n, "fork-2");
    delete(&n, "labelled");
    settle(&n, topics_log(n.topics));
    CHECK(topics_find(n.topics, SLICE("source")) == NULL);
    node_close(&n);
    node_open(&n);
    CHECK_EQ(topics_count(n.topics), 2);
    node_close(&n);
    buf_fini(&labels);
}

TEST(test_no_snapshot_is_appended_while_a_change_is_under_way)
{
    struct node n;
    uint64_t want;
    node_open(&n);
    struct topic *log = topics_log(n.topics), *t = create(&n, "t");
    fill_log(&n, "t", 2 * TOPIC_LOG_GROWTH);
    write_all(&n, log);
    CHECK_EQ(topics_delete(n.topics, t, &want), 0);
    while (topics_apply(n.topics))
        ;
    CHECK_EQ(log->tail.at, want);                    /* what is committed has taken effect, and nothing came after it */
    write_all(&n, log);
    while (topics_apply(n.topics))
        ;
    CHECK_EQ(log->tail.at, want + 2);                /* begin and end: there is no topic */
    settle(&n, log);
    CHECK_EQ(log->tail.at, want + 2);
    node_close(&n);
    node_open(&n);
    CHECK_EQ(topics_count(n.topics), 1);
    node_close(&n);
}

TEST(test_files_stay_until_the_end_of_a_snapshot_is_committed)
{
    struct node n;
    node_open(&n);
    struct topic *log = topics_log(n.topics);
    create(&n, "t");
    fill_log(&n, "t", 2 * TOPIC_LOG_GROWTH);
    uint64_t changes = log->tail.at;
    write_all(&n, log);
    while (topics_apply(n.topics))
        ;
    CHECK_EQ(log->tail.at, changes + 3);             /* it is appended */
    topics_trim(n.topics);
    worker_wait(n.store->disk.worker);
    CHECK_EQ(topic_first(log), 0);
    trim(&n);
    CHECK(topic_first(log) > 0 && topic_first(log) <= changes);
    node_close(&n);
}

/* As a leader leaves it that is lost in the middle. */
TEST(test_a_snapshot_without_an_end_removes_nothing)
{
    struct node n;
    struct buf messages = {0};
    node_open(&n);
    struct topic *log = topics_log(n.topics);
    create(&n, "t");
    fill_log(&n, "t", 2 * TOPIC_LOG_SEGMENT);
    settle(&n, log);
    message_write(&messages, &(struct message){.key = SLICE("_topics"), .payload = SLICE("begin")});
    struct append a = {.messages = buf_slice(&messages), .count = 1};
    uint64_t first;
    CHECK_EQ(topics_append(log, &a, &first), 0);
    trim(&n);
    CHECK_EQ(topic_first(log), 0);
    node_close(&n);
    buf_fini(&messages);
}

/* A leader that begins with a snapshot of the one before, which has not taken effect, knows of no change by it. */
TEST(test_a_snapshot_that_is_not_committed_holds_nobody_up)
{
    struct node n;
    node_open(&n);
    struct topic *log = topics_log(n.topics), *t = create(&n, "t");
    fill_log(&n, "t", 2 * TOPIC_LOG_GROWTH);
    write_all(&n, log);
    while (topics_apply(n.topics))
        ;
    CHECK_EQ(log->tail.at, n.topics->log.applied.at + 3);
    topics_begin(n.topics);
    CHECK(list_empty(&n.topics->log.changes));
    CHECK_EQ(topics_may_append(t), 0);
    node_close(&n);
}

TEST(test_a_directory_without_a_record_is_set_aside_once_the_log_begins_above_0)
{
    struct node n;
    node_open(&n);
    create(&n, "t");
    node_close(&n);
    CHECK_EQ(mkdir("data/topics/stray", 0755), 0);
    node_open(&n);
    CHECK_EQ(access("data/topics/stray", F_OK), 0);  /* nothing says that it was ours */
    fill_log(&n, "t", 2 * TOPIC_LOG_GROWTH);
    trim(&n);
    node_close(&n);
    node_open(&n);
    CHECK(access("data/topics/stray", F_OK) < 0);
    CHECK_EQ(system("ls -d data/diverged/stray-* > /dev/null"), 0);
    node_close(&n);
}

static void add_record(struct buf *out, const char *key, const char *payload, const char *id)
{
    struct buf headers = {0};
    if (id != NULL)
        header_write(&headers, SLICE("id"), slice_from(id));
    struct message m = {.key = slice_from(key), .headers = buf_slice(&headers), .payload = slice_from(payload)};
    message_write(out, &m);
    buf_fini(&headers);
}

/* By a leader that lies: the node would end when such a topic is deleted, and at each start. */
TEST(test_a_snapshot_keeps_no_topic_whose_id_may_be_another_ones)
{
    struct node n;
    struct buf messages = {0};
    uint64_t first;
    node_open(&n);
    struct topic *log = topics_log(n.topics);
    CHECK_EQ(topic_restart(log, 100, false), 0);
    static const char *const ids[] = {"1:7", "1:7", "2:7", "0:0", "1:104", "1:107", "1:200"};
    add_record(&messages, "_topics", "begin", NULL);
    for (unsigned i = 0; i < 7; i++)
        add_record(&messages, (char[]){(char)('a' + i), 0}, "keep", ids[i]);
    add_record(&messages, "_topics", "end", NULL);
    struct append a = {.messages = buf_slice(&messages), .count = 9};
    CHECK_EQ(topics_append(log, &a, &first), 0);
    CHECK_EQ(first, 100);
    settle(&n, log);
    for (int opened = 0; opened < 2; opened++) {
        CHECK_EQ(topics_count(n.topics), 3);
        CHECK(topics_find(n.topics, SLICE("a")) != NULL && topics_find(n.topics, SLICE("c")) != NULL);
        node_close(&n);
        node_open(&n);
    }
    delete(&n, "a");
    delete(&n, "c");
    settle(&n, topics_log(n.topics));
    CHECK_EQ(topics_count(n.topics), 1);
    node_close(&n);
    buf_fini(&messages);
}

TEST(test_a_node_alone_does_not_start_without_the_beginning_of_its_list)
{
    struct node n;
    struct buf why = {0};
    node_open(&n);
    struct topic *t = create(&n, "t");
    append(t, "one");
    settle(&n, t);
    CHECK_EQ(topic_restart(topics_log(n.topics), 100, false), 0);
    node_close(&n);
    struct store_options o = {.path = "data", .node_name = "n1", .files_max = 16, .moved = topic_moved};
    CHECK_EQ(store_open(&o, &n.store, &why), 0);
    CHECK_EQ(role_init_alone(&n.role, n.store), 0);
    CHECK(topics_open(n.store, &n.role, &n.topics, &why) < 0);
    CHECK(buf_size(&why) > 0);
    CHECK_EQ(access("data/small/t", F_OK), 0);
    store_close(n.store);
    buf_fini(&why);
}
