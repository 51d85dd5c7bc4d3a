/* What all topics have together, and which copies they need: kept as topics change. The rig counts anew at its end. */
#include "unit/topics_rig.h"

static struct topic *create_live(struct node *n, const char *name, unsigned copies)
{
    uint64_t want;
    struct topic_settings s = settings_default;
    s.replication = REPLICATION_LIVE;
    s.copies = copies;
    CHECK_EQ(topics_create(n->topics, slice_from(name), &s, &want), 0);
    settle(n, topics_log(n->topics));
    return topics_find(n->topics, slice_from(name));
}

static void ask_for_copies(struct node *n, struct topic *t, unsigned copies)
{
    uint64_t want;
    struct topic_settings s = *t->settings;
    s.copies = copies;
    CHECK_EQ(topics_set(n->topics, t, &s, &want), 0);
}

static void check_copies(struct node *n, unsigned min, unsigned max, unsigned kept)
{
    struct holdings h = topics_holdings(n->topics);
    CHECK_EQ(h.copies_min, min);
    CHECK_EQ(h.copies_max, max);
    CHECK_EQ(topics_copies_kept(n->topics), kept);
}

TEST(test_copies_are_those_of_live_topics_that_take_messages)
{
    struct node n;
    node_open(&n);
    check_copies(&n, 1, 1, 1);
    create(&n, "wal");
    struct topic *a = create_live(&n, "a", 3), *b = create_live(&n, "b", 2);
    check_copies(&n, 2, 3, 2);
    create_from(&n, "fork", b->id);
    settle(&n, topics_log(n.topics));
    delete(&n, "b");
    settle(&n, topics_log(n.topics));
    CHECK(b->gone);
    check_copies(&n, 3, 3, 3);
    ask_for_copies(&n, a, 4);
    settle(&n, topics_log(n.topics));
    node_close(&n);
    node_open(&n);
    check_copies(&n, 4, 4, 4);
    delete(&n, "a");
    settle(&n, topics_log(n.topics));
    check_copies(&n, 1, 1, 1);
    node_close(&n);
}

/* The set may be as small as what is under way asks for: else that could not commit while a member is gone. */
TEST(test_copies_kept_are_those_after_all_changes_under_way)
{
    struct node n;
    node_open(&n);
    struct topic *a = create_live(&n, "a", 3);
    create_live(&n, "b", 3);
    ask_for_copies(&n, a, 2);
    check_copies(&n, 3, 3, 2);
    ask_for_copies(&n, a, 4);                        /* the last one counts */
    check_copies(&n, 3, 3, 3);
    settle(&n, topics_log(n.topics));
    check_copies(&n, 3, 4, 3);
    delete(&n, "a");
    delete(&n, "b");
    check_copies(&n, 3, 4, 1);
    settle(&n, topics_log(n.topics));
    check_copies(&n, 1, 1, 1);
    node_close(&n);
}

TEST(test_the_position_is_that_of_all_logs_also_after_a_cut)
{
    struct node n;
    node_open(&n);
    struct topic *t = create(&n, "t");
    append(t, "of the first epoch");
    write_all(&n, t);
    node_close(&n);
    node_open(&n);
    t = topics_find(n.topics, SLICE("t"));
    uint64_t before = topics_sums(n.topics)->epoch, messages = topics_sums(n.topics)->messages;
    append(t, "of the second");
    write_all(&n, t);
    CHECK_EQ(topics_sums(n.topics)->epoch, before + 1);
    CHECK_EQ(topics_sums(n.topics)->messages, messages + 1);
    CHECK_EQ(topic_truncate(t, 1), 0);
    CHECK_EQ(topics_sums(n.topics)->epoch, before);
    CHECK_EQ(topics_sums(n.topics)->messages, messages);
    node_close(&n);
}

/* Counters only rise, also where topics go. */
TEST(test_totals_have_what_was_published_to_topics_that_are_deleted)
{
    struct node n;
    node_open(&n);
    struct topic *t = create(&n, "t");
    const struct topic_sums *sums = topics_sums(n.topics);
    uint64_t appended = sums->appended_messages;
    append(t, "one");
    topic_count_read(t, 3, 100);
    settle(&n, t);
    delete(&n, "t");
    settle(&n, topics_log(n.topics));
    CHECK_EQ(sums->appended_messages, appended + 2);  /* and the record that deletes it */
    CHECK_EQ(sums->read_messages, 3);
    CHECK_EQ(sums->read_bytes, 100);
    node_close(&n);
}
