/*
 * What the tests of topics share: a node on a real store, alone, whose turn is `settle`.
 */
#ifndef UNIT_TOPICS_RIG_H
#define UNIT_TOPICS_RIG_H

#include "base/clock.h"
#include "base/err.h"
#include "broker/topic/topics.h"
#include "store/recovery/open.h"
#include "unit/topic_sums.h"
#include "unit/unit.h"

#pragma GCC diagnostic ignored "-Wunused-function"

struct node {
    struct store *store;
    struct role role;
    struct topics *topics;
};

static void node_open(struct node *n)
{
    struct buf why = {0};
    struct store_options o = {.path = "data", .node_name = "n1", .files_max = 16, .sync_interval_ms = 1000,
                              .moved = topic_moved};
    CHECK_EQ(store_open(&o, &n->store, &why), 0);
    CHECK_EQ(role_init_alone(&n->role, n->store), 0);
    CHECK_EQ(topics_open(n->store, &n->role, &n->topics, &why), 0);
    buf_fini(&why);
}

static void node_close(struct node *n)
{
    check_sums(n->topics);
    topics_close(n->topics);
    store_close(n->store);
}

/* Turns the store's part of the loop until everything appended to t is on the disk. */
static void write_all(struct node *n, struct topic *t)
{
    while (t->disk.at < t->tail.at) {
        store_flush(n->store);
        store_sync(n->store);
        store_collect(n->store);
    }
}

/* And until the changes of topics among it have taken effect, with what that appends. */
static void settle(struct node *n, struct topic *t)
{
    do
        write_all(n, t);
    while (topics_apply(n->topics) || t->disk.at < t->tail.at);
}

static struct topic *create(struct node *n, const char *name)
{
    uint64_t want;
    CHECK_EQ(topics_create(n->topics, slice_from(name), &settings_default, &want), 0);
    settle(n, topics_log(n->topics));
    struct topic *t = topics_find(n->topics, slice_from(name));
    CHECK(t != NULL);
    return t;
}

static uint64_t append(struct topic *t, const char *payload)
{
    struct buf messages = {0};
    struct message m = {.payload = slice_from(payload)};
    message_write(&messages, &m);
    struct append a = {.messages = buf_slice(&messages), .count = 1};
    uint64_t first;
    CHECK_EQ(topics_append(t, &a, &first), 0);
    buf_fini(&messages);
    return first;
}

static uint64_t create_from(struct node *n, const char *name, struct topic_id source)
{
    uint64_t want;
    struct topic_plan plan = {slice_from(name), &settings_default, {.source = source}};
    CHECK_EQ(topics_create_born(n->topics, &plan, &want), 0);
    return want;
}

static void delete(struct node *n, const char *name)
{
    uint64_t want;
    CHECK_EQ(topics_delete(n->topics, topics_find(n->topics, slice_from(name)), &want), 0);
}

#endif
