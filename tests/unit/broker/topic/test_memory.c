/* What an idle topic costs in memory: a node may have a million of them. */
#include <malloc.h>
#include <stdio.h>

#include "store/log/store_struct.h"
#include "unit/topics_rig.h"

enum {
    TOPICS = 3000,
    AT_ONCE = 500,          /* topics that are made together */
    MOST = 1075,            /* bytes of the heap for each, with its places in maps and orders */
};

static size_t heap(void)
{
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
}

static void make(struct node *n, unsigned from, unsigned to)
{
    char name[16], payload[101];
    uint64_t want;
    memset(payload, 'x', 100);
    payload[100] = '\0';
    for (unsigned i = from; i < to; i++) {
        snprintf(name, sizeof name, "t-%u", i);
        CHECK_EQ(topics_create(n->topics, slice_from(name), &settings_default, &want), 0);
    }
    settle(n, topics_log(n->topics));
    for (unsigned i = from; i < to; i++) {
        snprintf(name, sizeof name, "t-%u", i);
        append(topics_find(n->topics, slice_from(name)), payload);
    }
    snprintf(name, sizeof name, "t-%u", to - 1);
    write_all(n, topics_find(n->topics, slice_from(name)));
}

static void check_cost(size_t bytes)
{
    printf("%zu bytes a topic\n", bytes / TOPICS);
    CHECK(bytes / TOPICS <= MOST);
}

TEST(test_an_idle_topic_takes_a_kilobyte)
{
    struct node n;
    node_open(&n);
    make(&n, 0, AT_ONCE);               /* what the node itself needs is there from now on */
    size_t before = heap();
    for (unsigned i = AT_ONCE; i < AT_ONCE + TOPICS; i += AT_ONCE)
        make(&n, i, i + AT_ONCE);
    check_cost(heap() - before);
    node_close(&n);
}

static size_t heap_of_a_start(struct node *n)
{
    size_t before = heap();
    node_open(n);
    return heap() - before - n->store->reader.cap;       /* which a scan may have taken, or not */
}

TEST(test_an_idle_topic_takes_no_more_after_a_start)
{
    struct node n;
    node_open(&n);
    make(&n, 0, AT_ONCE);
    node_close(&n);
    size_t few = heap_of_a_start(&n);
    for (unsigned i = AT_ONCE; i < AT_ONCE + TOPICS; i += AT_ONCE)
        make(&n, i, i + AT_ONCE);
    node_close(&n);
    check_cost(heap_of_a_start(&n) - few);
    node_close(&n);
}
