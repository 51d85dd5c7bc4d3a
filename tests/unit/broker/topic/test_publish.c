/* What a publish that repeats an earlier request is answered, and when. The store below is the real one. */
#include "base/err.h"
#include "broker/topic/publish.h"
#include "store/recovery/open.h"
#include "unit/unit.h"

static struct store *store;
static struct role role;
static struct topics *topics;

static void disk_turn(void)
{
    store_flush(store);
    store_sync(store);
    store_collect(store);
    topics_apply(topics);
}

static struct topic *topic_on_disk(void)
{
    struct buf why = {0};
    struct store_options o = {.path = "data", .node_name = "n1", .files_max = 16, .sync_interval_ms = 1000,
                              .moved = topic_moved};
    uint64_t want;
    CHECK_EQ(store_open(&o, &store, &why), 0);
    CHECK_EQ(role_init_alone(&role, store), 0);
    CHECK_EQ(topics_open(store, &role, &topics, &why), 0);
    CHECK_EQ(topics_create(topics, SLICE("t"), &settings_default, &want), 0);
    while (topics_find(topics, SLICE("t")) == NULL)
        disk_turn();
    buf_fini(&why);
    return topics_find(topics, SLICE("t"));
}

static struct publish publish(struct topic *t, uint32_t count, uint64_t sequence)
{
    struct buf messages = {0};
    struct message m = {.payload = SLICE("x")};
    for (uint32_t i = 0; i < count; i++)
        message_write(&messages, &m);
    struct append a = {.messages = buf_slice(&messages), .count = count,
                       .origin = {.kind = ORIGIN_PRODUCER, .name = SLICE("p"), .sequence = sequence}};
    struct publish p = {.append = &a};
    CHECK_EQ(topics_publish(t, &p), 0);
    buf_fini(&messages);
    return p;
}

/* A client whose first answer was lost repeats its request before the disk has the batch. Its answer promises as much
 * as the first one did, so it has to wait for the same mark. */
TEST(test_a_duplicate_is_acknowledged_only_when_what_it_repeats_is)
{
    struct topic *t = topic_on_disk();
    struct publish first = publish(t, 2, 0), second = publish(t, 3, 1);
    CHECK(!first.duplicate && !second.duplicate);
    CHECK_EQ(first.want, 2);
    CHECK_EQ(second.want, 5);
    for (int written = 0; written < 2; written++) {
        CHECK(topic_ack_mark(t)->at < 2);
        struct publish again = publish(t, 2, 0);
        CHECK(again.duplicate);
        CHECK_EQ(again.want, again.placed ? 2 : 1);
        again = publish(t, 3, 1);
        CHECK(again.duplicate);
        CHECK_EQ(again.want, again.placed ? 5 : 3);
        CHECK(again.placed || !written);
        store_flush(store);                              /* written, and not synced */
    }
    while (t->disk.at < t->tail.at)
        disk_turn();
    struct publish again = publish(t, 3, 1);
    CHECK(again.duplicate && again.placed);
    CHECK_EQ(again.first, 2);
    CHECK_EQ(again.count, 3);
    CHECK_EQ(t->tail.at, 5);
    CHECK(topic_ack_mark(t)->at >= again.want);
    topics_close(topics);
    store_close(store);
}
