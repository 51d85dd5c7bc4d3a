/*
 * What the tests of groups share: a node on a real store, with a topic "jobs" and its group "w", whose clock they set.
 */
#ifndef UNIT_GROUPS_RIG_H
#define UNIT_GROUPS_RIG_H

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "broker/group/groups_struct.h"
#include "broker/topic/topics_struct.h"
#include "store/recovery/open.h"
#include "unit/flush_topics.h"
#include "unit/unit.h"

#pragma GCC diagnostic ignored "-Wunused-function"

enum { HOUR = 3600 * 1000 };

struct node {
    struct store *store;
    struct role role;
    struct topics *topics;
    struct groups *groups;
    struct topic *topic;
    struct held_group *group;
    int64_t begins_ms;               /* the date at which it starts, known to be right; 0: as it finds */
};

static void settle_disk(struct node *n)
{
    flush_topics(n->store, n->topics);
}

/* The date goes on from what is set here while it is far from the system's clock. */
static void set_date(struct node *n, int64_t by_ms)
{
    n->topics->clock.date_ms += by_ms;
}

static void pass(struct node *n, int64_t ms)
{
    set_date(n, ms);
    if (n->groups != NULL)
        n->groups->date_ms += ms;
}

static void node_open(struct node *n)
{
    struct buf why = {0};
    struct store_options o = {.path = "data", .node_name = "n1", .files_max = 16, .sync_interval_ms = 1000,
                              .moved = topic_moved};
    CHECK_EQ(store_open(&o, &n->store, &why), 0);
    CHECK_EQ(topics_open(n->store, &n->role, &n->topics, &why), 0);
    CHECK_EQ(role_init_alone(&n->role, n->store), 0);
    topics_date(n->topics);
    if (n->begins_ms > 0)
        n->topics->clock = (struct wall_clock){.date_ms = n->begins_ms, .looked_ns = clock_ns()};
    else if (!n->topics->clock.least)     /* else the date goes on from the newest message already */
        pass(n, HOUR);
    CHECK_EQ(groups_open(n->topics, &n->groups, &why), 0);
    buf_fini(&why);
    groups_turn(n->groups);
    n->topic = topics_find(n->topics, SLICE("jobs"));
    n->group = n->topic == NULL ? NULL : groups_find(n->groups, n->topic, SLICE("w"));
}

static void node_close(struct node *n)
{
    groups_close(n->groups);
    topics_close(n->topics);
    store_close(n->store);
}

static void restart(struct node *n)
{
    int64_t now = groups_now_ms(n->groups);
    settle_disk(n);
    node_close(n);
    *n = (struct node){.begins_ms = now};
    node_open(n);
}

static void begin(struct node *n, const struct group_settings *s)
{
    uint64_t want;
    struct group_place from = {0, 0};
    node_open(n);
    CHECK_EQ(topics_create(n->topics, SLICE("jobs"), &settings_default, &want), 0);
    CHECK_EQ(groups_make_log(n->groups, &want), 0);
    settle_disk(n);
    n->topic = topics_find(n->topics, SLICE("jobs"));
    groups_turn(n->groups);
    CHECK_EQ(groups_create(n->groups, n->topic, SLICE("w"), s, &from, &want), 0);
    n->group = groups_find(n->groups, n->topic, SLICE("w"));
}

static void publish(struct node *n, const char *const *keys, uint32_t count)
{
    struct buf messages = {0};
    uint64_t first;
    for (uint32_t i = 0; i < count; i++) {
        struct message m = {.payload = SLICE("payload")};
        if (keys[i] != NULL)
            m.key = slice_from(keys[i]);
        message_write(&messages, &m);
    }
    struct append a = {.messages = buf_slice(&messages), .count = count};
    CHECK_EQ(topics_append(n->topic, &a, &first), 0);
    buf_fini(&messages);
    settle_disk(n);
}

static void publish_plain(struct node *n, uint32_t count)
{
    const char *none[16] = {0};
    publish(n, none, count);
}

/* Claims, and puts the offsets into `offsets`. */
static struct claim claim(struct node *n, uint32_t limit, uint64_t *offsets)
{
    struct claim c;
    struct buf out = {0};
    struct claim_options o = {SLICE("me"), limit, READ_SIZE_DEFAULT};
    CHECK_EQ(groups_use(n->groups, n->group, n->topic), 0);
    CHECK_EQ(groups_claim(n->groups, n->group, n->topic, &o, &out, &c), 0);
    slice rest = buf_slice(&out);
    for (uint32_t i = 0; i < c.count; i++) {
        struct claimed_message head;
        memcpy(&head, rest.p, sizeof(head));
        offsets[i] = head.offset;
        rest = slice_skip(rest, sizeof(head) + head.size);
    }
    CHECK_EQ(rest.n, 0);
    buf_fini(&out);
    return c;
}

static bool settle(struct node *n, struct settle s)
{
    uint64_t want;
    CHECK_EQ(groups_use(n->groups, n->group, n->topic), 0);
    CHECK_EQ(groups_settle(n->groups, n->group, &s, 1, &want), 0);
    return !s.lost;
}

/* A snapshot says all that matters. */
static void check_snapshot(struct node *n)
{
    struct buf messages = {0};
    struct message m;
    struct group copy;
    const struct group *g = &n->group->state;
    uint32_t count = record_snapshot(&messages, g, SLICE("key"), SLICE("")), taken = 0;
    group_init(&copy, &g->settings);
    for (slice rest = buf_slice(&messages); rest.n > 0; taken++) {
        CHECK_EQ(message_read(&rest, &m), 0);
        CHECK_EQ(group_apply(&copy, &m), 0);
    }
    CHECK_EQ(taken, count);
    CHECK_EQ(copy.settled.cursor, g->settled.cursor);
    CHECK_EQ(copy.settled.above, g->settled.above);
    CHECK_EQ(copy.out.leased, g->out.leased);
    CHECK_EQ(copy.out.delayed, g->out.delayed);
    CHECK_EQ(copy.acked_count, g->acked_count);
    CHECK_EQ(copy.dying, g->dying);
    CHECK_EQ(group_top(&copy), group_top(g));
    struct delivery *e;
    for (uint32_t at = 0; (e = deliveries_each(&copy.out, &at)) != NULL;) {
        const struct delivery *like = deliveries_find(&g->out, e->offset);
        CHECK(like != NULL);
        CHECK_EQ(like->claim, e->claim);
        CHECK_EQ(like->count, e->count);
        CHECK_EQ(like->key, e->key);
    }
    group_fini(&copy);
    buf_fini(&messages);
}

#endif
