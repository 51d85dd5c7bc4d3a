/* Groups on a real store, beside a model that is a table of messages. */
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

/* ---- the model ---- */

enum { FRESH, OUT, LATER, DONE };
enum { MOST = 40, LEASE_TIME = 600 * 1000, DELAY_TIME = 300 * 1000, DELIVERIES = 3 };

struct model {
    bool keyed;
    unsigned count;
    struct {
        int state, key;
        unsigned deliveries;
        uint64_t claim, last;        /* last: the claim that acked it */
        int64_t at;
    } m[MOST];
};

static void model_end(struct model *md, unsigned i, int64_t later, bool counted)
{
    md->m[i].claim = 0;
    md->m[i].deliveries += counted;
    md->m[i].state = md->m[i].deliveries >= DELIVERIES ? DONE : later > 0 ? LATER : FRESH;
    md->m[i].at = later;
}

static void model_tick(struct model *md, int64_t now)
{
    for (unsigned i = 0; i < md->count; i++) {
        if (md->m[i].state == OUT && md->m[i].at <= now)
            model_end(md, i, 0, true);
        else if (md->m[i].state == LATER && md->m[i].at <= now)
            md->m[i].state = FRESH;
    }
}

static bool model_may(const struct model *md, unsigned i)
{
    if (md->m[i].state != FRESH)
        return false;
    for (unsigned k = 0; md->keyed && md->m[i].key != 0 && k < i; k++)
        if (md->m[k].key == md->m[i].key && md->m[k].state != DONE)
            return false;
    return true;
}

static void check_claim(struct node *n, struct model *md, uint32_t limit)
{
    uint64_t got[MOST];
    struct claim c = claim(n, limit, got);
    uint32_t k = 0;
    model_tick(md, groups_now_ms(n->groups));
    for (unsigned i = 0; i < md->count && k < limit; i++) {
        if (!model_may(md, i))
            continue;
        CHECK(k < c.count);
        CHECK_EQ(got[k++], i);
        md->m[i].state = OUT;
        md->m[i].claim = c.number;
        md->m[i].at = groups_now_ms(n->groups) + LEASE_TIME;
    }
    CHECK_EQ(k, c.count);
}

static void check_settle(struct node *n, struct model *md, unsigned i, enum settle_what what, uint64_t number)
{
    struct settle s = {.what = what, .offset = i, .claim = number, .ms = LEASE_TIME};
    int64_t now = groups_now_ms(n->groups);
    model_tick(md, now);
    bool holds = md->m[i].state == OUT && md->m[i].claim == number;
    bool again = what == SETTLE_ACK && number != 0 && md->m[i].state == DONE && md->m[i].last == number;
    if (what == SETTLE_RELEASE && random() % 2) {
        s.has_delay = true;
        s.ms = DELAY_TIME;
    }
    CHECK_EQ(settle(n, s), holds || again);
    if (!holds)
        return;
    if (what == SETTLE_ACK || what == SETTLE_DEAD)
        md->m[i].state = DONE;
    else if (what == SETTLE_RELEASE)
        model_end(md, i, s.has_delay ? now + DELAY_TIME : 0, true);
    else if (what == SETTLE_RETURN)
        model_end(md, i, 0, false);
    else
        md->m[i].at = now + LEASE_TIME;
    md->m[i].last = what == SETTLE_ACK ? number : 0;
}

static void check_state(struct node *n, struct model *md)
{
    const struct group *g = &n->group->state;
    model_tick(md, groups_now_ms(n->groups));
    CHECK_EQ(groups_use(n->groups, n->group, n->topic), 0);
    for (unsigned i = 0; i < md->count; i++) {
        const struct delivery *e = deliveries_find(&g->out, i);
        CHECK_EQ(settled_has(&g->settled, i), md->m[i].state == DONE);
        CHECK_EQ(e != NULL && e->state == DELIVERY_LEASED, md->m[i].state == OUT);
        CHECK_EQ(e != NULL && e->state == DELIVERY_DELAYED, md->m[i].state == LATER);
        if (e != NULL && md->m[i].state != DONE)
            CHECK_EQ(e->count, md->m[i].deliveries);
    }
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

static void random_step(struct node *n, struct model *md)
{
    static const char *const names[] = {NULL, "a", "b", "c"};
    static const enum settle_what kinds[] = {
        SETTLE_ACK, SETTLE_ACK, SETTLE_RELEASE, SETTLE_DEAD, SETTLE_EXTEND, SETTLE_RETURN};
    unsigned i = (unsigned)random() % (md->count + 1);
    switch (random() % 8) {
    case 0:
    case 1:
        if (md->count < MOST) {
            md->m[md->count].key = (int)(random() % 4);
            publish(n, &names[md->m[md->count].key], 1);
            md->count++;
        }
        break;
    case 2:
    case 3:
        check_claim(n, md, 1 + (uint32_t)random() % 4);
        break;
    case 4:
    case 5:
    case 6:
        if (i < md->count)
            check_settle(n, md, i, kinds[random() % 6], random() % 8 ? md->m[i].claim | md->m[i].last : 7);
        break;
    case 7:
        pass(n, random() % 3 * 61 * 1000);
        break;
    }
}

static void random_life(bool keyed, unsigned seed)
{
    struct node n = {0};
    struct model md = {.keyed = keyed};
    struct group_settings s = group_settings_default;
    s.lease_ms = LEASE_TIME;
    s.deliveries = DELIVERIES;
    s.order = keyed ? ORDER_KEY : ORDER_NONE;
    srandom(seed);
    begin(&n, &s);
    for (int i = 0; i < 400; i++) {
        random_step(&n, &md);
        check_state(&n, &md);
        if (i % 40 == 20)
            check_snapshot(&n);
        if (i % 60 == 59)
            restart(&n);
    }
    node_close(&n);
}

TEST(test_a_group_behaves_as_its_model_also_over_restarts)
{
    random_life(false, 1);
}

TEST(test_a_group_in_the_order_of_keys_behaves_as_its_model)
{
    random_life(true, 2);
}

/* ---- single rules ---- */

TEST(test_a_lease_that_is_over_is_lost_and_the_message_comes_again)
{
    struct node n = {0};
    uint64_t got[4];
    begin(&n, &group_settings_default);
    publish_plain(&n, 1);
    struct claim first = claim(&n, 1, got);
    CHECK_EQ(first.count, 1);
    CHECK_EQ(claim(&n, 1, got).count, 0);
    pass(&n, 31 * 1000);
    struct claim second = claim(&n, 1, got);
    CHECK_EQ(second.count, 1);
    CHECK(!settle(&n, (struct settle){.what = SETTLE_ACK, .offset = 0, .claim = first.number}));
    CHECK(settle(&n, (struct settle){.what = SETTLE_ACK, .offset = 0, .claim = second.number}));
    CHECK(settle(&n, (struct settle){.what = SETTLE_ACK, .offset = 0, .claim = second.number}));
    CHECK(!settle(&n, (struct settle){.what = SETTLE_ACK, .offset = 0, .claim = first.number}));
    CHECK_EQ(n.group->state.count.redelivered, 1);
    node_close(&n);
}

/* The system's clock is not the date here: it is an hour behind. */
TEST(test_deadlines_go_by_the_date_of_messages)
{
    struct node n = {0};
    struct journal_info info;
    uint64_t got[4];
    begin(&n, &group_settings_default);
    publish_plain(&n, 1);
    journal_info(n.topic->journal, &info);
    CHECK(llabs(groups_now_ms(n.groups) - info.last_time_ms) < 60 * 1000);
    CHECK_EQ(claim(&n, 1, got).count, 1);
    uint64_t left_ns = groups_deadline_ns(n.groups) - clock_ns();
    CHECK(left_ns <= group_settings_default.lease_ms * NS_PER_MS);
    node_close(&n);
}

/* One message is leased and one delayed; each has a time left, before and after a restart. */
TEST(test_a_date_that_is_set_leaves_leases_and_delays_what_is_left_of_them)
{
    static const int64_t steps[] = {50 * 1000, -50 * 1000, 40 * HOUR, -30 * HOUR};
    struct node n = {0};
    uint64_t got[4];
    begin(&n, &group_settings_default);
    publish_plain(&n, 2);
    struct claim c = claim(&n, 2, got);
    struct settle later = {.what = SETTLE_RELEASE, .offset = 0, .claim = c.number, .has_delay = true, .ms = 20 * 1000};
    CHECK(settle(&n, later));
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        set_date(&n, steps[i]);
        groups_turn(n.groups);
        CHECK(llabs(groups_now_ms(n.groups) - topics_date(n.topics)) < GROUP_STEP_MS);
        uint64_t left_ns = groups_deadline_ns(n.groups) - clock_ns();
        CHECK(left_ns > 10 * 1000 * NS_PER_MS);
        CHECK(left_ns <= 20 * 1000 * NS_PER_MS);
        CHECK_EQ(claim(&n, 2, got).count, 0);
        CHECK(group_leased(&n.group->state, 1, c.number) != NULL);
        if (i % 2 == 0)              /* after a step back, the newest message is later than the date */
            restart(&n);
    }
    pass(&n, 21 * 1000);
    CHECK_EQ(claim(&n, 2, got).count, 1);
    pass(&n, 10 * 1000);
    CHECK_EQ(claim(&n, 2, got).count, 1);
    CHECK_EQ(got[0], 1);
    node_close(&n);
}

/* Deadlines and dates stay together where the record cannot be appended, and follow once it can. */
TEST(test_deadlines_follow_the_date_as_soon_as_they_can)
{
    struct node n = {0};
    uint64_t got[4];
    begin(&n, &group_settings_default);
    publish_plain(&n, 1);
    struct claim c = claim(&n, 1, got);
    topics_hold(n.topics, true);
    set_date(&n, HOUR);
    groups_turn(n.groups);
    CHECK(group_leased(&n.group->state, 0, c.number) != NULL);
    CHECK(llabs(topics_date(n.topics) - groups_now_ms(n.groups) - HOUR) < GROUP_STEP_MS);
    topics_hold(n.topics, false);
    groups_turn(n.groups);
    CHECK(group_leased(&n.group->state, 0, c.number) != NULL);
    CHECK(llabs(topics_date(n.topics) - groups_now_ms(n.groups)) < GROUP_STEP_MS);
    restart(&n);
    CHECK(group_leased(&n.group->state, 0, c.number) != NULL);
    node_close(&n);
}

/* A topic has a message of a date to come, so the clock is not believed at the next start; leases are not over yet. */
TEST(test_leases_outlive_a_restart_after_the_date_was_set_back)
{
    struct node n = {0};
    uint64_t got[4], first;
    struct buf messages = {0};
    begin(&n, &group_settings_default);
    publish_plain(&n, 1);
    message_write(&messages, &(struct message){.payload = SLICE("payload")});
    struct append a = {.messages = buf_slice(&messages), .count = 1, .epoch = n.role.epoch,
                       .time_ms = topics_date(n.topics) + INT64_C(48) * HOUR};
    struct claim c = claim(&n, 1, got);
    settle_disk(&n);
    CHECK_EQ(journal_append(n.topic->journal, &a, &first), 0);
    node_close(&n);
    n = (struct node){0};
    node_open(&n);
    CHECK(group_leased(&n.group->state, 0, c.number) != NULL);
    pass(&n, 31 * 1000);
    CHECK_EQ(claim(&n, 1, got).count, 1);
    CHECK_EQ(got[0], 0);
    node_close(&n);
    buf_fini(&messages);
}

/* 3 * 10^9 offsets are settled while ten messages are out. */
TEST(test_a_settled_range_costs_by_what_is_out)
{
    enum { RANGES = 3000 };
    struct group g;
    struct buf payload = {0};
    struct settle_run *runs = mem_new(RANGES * sizeof(*runs));
    group_init(&g, &group_settings_default);
    for (uint64_t i = 0; i < 10; i++)
        group_hold(&g, deliveries_add(&g.out, i * 400 * GROUP_DELIVERIES_MAX, 0), 7, HOUR, 0);
    for (uint64_t i = 0; i < RANGES; i++)
        runs[i] = (struct settle_run){.what = SETTLE_LEAVE_OUT, .offset = i * GROUP_DELIVERIES_MAX,
                                      .n = GROUP_DELIVERIES_MAX};
    record_settle(&payload, runs, RANGES);
    uint64_t before = clock_cpu_ns();
    CHECK_EQ(group_apply(&g, &(struct message){.payload = buf_slice(&payload)}), 0);
    CHECK(clock_cpu_ns() - before < NS_PER_S);
    CHECK_EQ(g.settled.cursor, (uint64_t)RANGES * GROUP_DELIVERIES_MAX);
    CHECK_EQ(g.out.count, 2);                        /* the last two are above */
    CHECK_EQ(g.out.leased, 2);
    group_fini(&g);
    buf_fini(&payload);
    mem_free(runs);
}

TEST(test_the_delay_before_a_retry_grows_up_to_its_bound)
{
    struct group_settings s = group_settings_default;
    s.retry_min_ms = 1000;
    s.retry_max_ms = 5000;
    CHECK_EQ(group_retry_delay_ms(&s, 1), 1000);
    CHECK_EQ(group_retry_delay_ms(&s, 2), 2000);
    CHECK_EQ(group_retry_delay_ms(&s, 3), 4000);
    CHECK_EQ(group_retry_delay_ms(&s, 4), 5000);
    CHECK_EQ(group_retry_delay_ms(&s, 1000 * 1000), 5000);
    s.retry_factor = 1000;
    CHECK_EQ(group_retry_delay_ms(&s, 9), 1000);
    s.retry_min_ms = 0;
    CHECK_EQ(group_retry_delay_ms(&s, 9), 0);
}

TEST(test_no_more_than_lease_max_are_leased_at_once)
{
    struct node n = {0};
    uint64_t got[16];
    struct group_settings s = group_settings_default;
    s.lease_max = 3;
    begin(&n, &s);
    publish_plain(&n, 8);
    struct claim c = claim(&n, 8, got);
    CHECK_EQ(c.count, 3);
    CHECK_EQ(claim(&n, 8, got).count, 0);
    CHECK(settle(&n, (struct settle){.what = SETTLE_ACK, .offset = 1, .claim = c.number}));
    CHECK_EQ(claim(&n, 8, got).count, 1);
    CHECK_EQ(got[0], 3);
    node_close(&n);
}

TEST(test_messages_that_are_not_in_the_history_are_forgotten)
{
    struct node n = {0};
    uint64_t got[16];
    begin(&n, &group_settings_default);
    for (int i = 0; i < 4; i++)
        publish_plain(&n, 1);
    struct claim c = claim(&n, 4, got);
    for (uint64_t i = 0; i < 4; i++)
        CHECK(settle(&n, (struct settle){.what = SETTLE_ACK, .offset = i, .claim = c.number}));
    CHECK_EQ(n.group->state.settled.cursor, 4);
    restart(&n);
    CHECK_EQ(topic_truncate(n.topic, 2), 0);         /* as if the leader before had not sent the others */
    publish_plain(&n, 3);                            /* of a later epoch, up to offset 5 */
    n.group->checked_epoch = 0;
    CHECK_EQ(groups_use(n.groups, n.group, n.topic), 0);
    CHECK_EQ(n.group->state.settled.cursor, 2);
    CHECK_EQ(claim(&n, 8, got).count, 3);
    CHECK_EQ(got[0], 2);
    node_close(&n);
}

TEST(test_a_record_that_cannot_be_appended_changes_nothing)
{
    struct node n = {0};
    uint64_t got[4], want;
    struct claim lost;
    struct buf out = {0};
    struct claim_options o = {SLICE("me"), 2, READ_SIZE_DEFAULT};
    begin(&n, &group_settings_default);
    publish_plain(&n, 3);
    struct claim c = claim(&n, 1, got);
    struct settle s = {.what = SETTLE_ACK, .offset = 0, .claim = c.number};
    topics_stop(n.topics);
    CHECK_EQ(groups_settle(n.groups, n.group, &s, 1, &want), -ERR_STOPPING);
    CHECK_EQ(groups_claim(n.groups, n.group, n.topic, &o, &out, &lost), -ERR_STOPPING);
    CHECK_EQ(buf_size(&out), 0);
    CHECK_EQ(n.group->state.out.leased, 1);
    CHECK_EQ(n.group->state.settled.cursor, 0);
    CHECK(group_leased(&n.group->state, 0, c.number) != NULL);
    restart(&n);
    CHECK(settle(&n, s));
    CHECK_EQ(claim(&n, 4, got).count, 2);
    CHECK_EQ(got[0], 1);
    buf_fini(&out);
    node_close(&n);
}

TEST(test_what_retention_removes_is_counted_and_its_leases_are_lost)
{
    struct node n = {0};
    uint64_t got[16];
    begin(&n, &group_settings_default);
    publish_plain(&n, 4);
    struct claim c = claim(&n, 4, got);
    CHECK(settle(&n, (struct settle){.what = SETTLE_ACK, .offset = 1, .claim = c.number}));
    CHECK_EQ(topic_restart(n.topic, 3, false), 0);
    CHECK_EQ(groups_use(n.groups, n.group, n.topic), 0);
    CHECK_EQ(n.group->state.count.removed, 2);
    CHECK_EQ(n.group->state.settled.cursor, 3);
    CHECK(!settle(&n, (struct settle){.what = SETTLE_ACK, .offset = 0, .claim = c.number}));
    node_close(&n);
}

TEST(test_batches_that_are_kept_for_the_next_claim_are_dropped_when_the_log_is_cut)
{
    struct node n = {0};
    uint64_t got[4];
    static const char *const keys[] = {"a"};
    struct group_settings s = group_settings_default;
    s.lease_max = 1;
    begin(&n, &s);
    for (int i = 0; i < 4; i++)
        publish(&n, keys, 1);
    struct claim c = claim(&n, 4, got);              /* reads all, and gets one */
    CHECK_EQ(c.count, 1);
    CHECK(settle(&n, (struct settle){.what = SETTLE_ACK, .offset = 0, .claim = c.number}));
    CHECK(n.group->reader != NULL);
    CHECK(n.groups->cached > 0);
    CHECK_EQ(topic_truncate(n.topic, 1), 0);
    publish_plain(&n, 3);                            /* without a key, at the same offsets */
    CHECK_EQ(claim(&n, 1, got).count, 1);
    CHECK_EQ(got[0], 1);
    CHECK_EQ(deliveries_find(&n.group->state.out, 1)->key, 0);
    groups_trim(n.groups);
    CHECK(n.group->reader != NULL);
    groups_trim(n.groups);                           /* nothing was claimed between these two */
    CHECK(n.group->reader == NULL);
    CHECK_EQ(n.groups->cached, 0);
    node_close(&n);
}

TEST(test_a_group_expires_by_the_time_since_its_last_use)
{
    struct node n = {0};
    uint64_t got[4];
    struct group_settings s = group_settings_default;
    s.expire_ms = 60 * 1000;
    begin(&n, &s);
    groups_trim(n.groups);
    pass(&n, 50 * 1000);
    claim(&n, 1, got);                               /* which finds nothing, and is a use */
    pass(&n, 50 * 1000);
    groups_trim(n.groups);
    CHECK_EQ(groups_count(n.groups), 1);
    restart(&n);                                     /* a leader counts from its start */
    groups_trim(n.groups);
    pass(&n, 59 * 1000);
    groups_trim(n.groups);
    CHECK_EQ(groups_count(n.groups), 1);
    pass(&n, 2 * 1000);
    groups_trim(n.groups);
    CHECK_EQ(groups_count(n.groups), 0);
    node_close(&n);
}

TEST(test_a_dying_message_is_out_until_it_is_buried_also_over_a_restart)
{
    struct node n = {0};
    uint64_t got[4], want;
    struct buf why = {0};
    struct group_settings s = group_settings_default;
    CHECK_EQ(group_settings_set(&s, SLICE("dead_letter"), SLICE("_x"), &why), -ERR_BAD_VALUE);
    CHECK_EQ(group_settings_set(&s, SLICE("dead_letter"), SLICE("dead"), &why), 0);
    s.deliveries = 1;
    begin(&n, &s);
    publish_plain(&n, 3);
    struct claim c = claim(&n, 2, got);
    struct settle reject = {.what = SETTLE_DEAD, .offset = 0, .claim = c.number, .reason = SLICE("no address")};
    CHECK(settle(&n, reject));
    pass(&n, 31 * 1000);
    CHECK_EQ(groups_use(n.groups, n.group, n.topic), 0);
    for (int i = 0; i < 2; i++) {
        CHECK(slice_eq(group_reason(&n.group->state, deliveries_find(&n.group->state.out, 0)), SLICE("no address")));
        CHECK_EQ(group_reason(&n.group->state, deliveries_find(&n.group->state.out, 1)).n, 0);
        CHECK_EQ(n.group->state.dying, 2);
        CHECK_EQ(n.group->state.out.leased, 0);
        CHECK_EQ(n.group->state.settled.cursor, 0);
        CHECK(groups_deadline_ns(n.groups) < UINT64_MAX / 2);
        check_snapshot(&n);
        restart(&n);
    }
    CHECK_EQ(deliveries_find(&n.group->state.out, 0)->claim, DYING_REJECTED);
    CHECK_EQ(deliveries_find(&n.group->state.out, 1)->claim, DYING_DELIVERIES);
    CHECK_EQ(claim(&n, 4, got).count, 1);
    CHECK_EQ(groups_bury(n.groups, n.group, 0, &want), 0);
    CHECK(want > 0);
    CHECK_EQ(groups_bury(n.groups, n.group, 0, &want), 0);
    CHECK_EQ(want, 0);
    CHECK_EQ(groups_bury(n.groups, n.group, 2, &want), 0);
    CHECK_EQ(want, 0);                               /* it is leased, and not dying */
    CHECK_EQ(n.group->state.dying, 1);
    CHECK_EQ(n.group->state.count.dead, 1);
    CHECK_EQ(n.group->state.settled.cursor, 1);
    buf_fini(&why);
    node_close(&n);
}

TEST(test_a_dying_message_holds_back_none_of_its_key)
{
    struct node n = {0};
    uint64_t got[4], want;
    struct buf why = {0};
    struct group_settings s = group_settings_default;
    const char *keys[] = {"a", "a", "a"};
    s.order = ORDER_KEY;
    CHECK_EQ(group_settings_set(&s, SLICE("dead_letter"), SLICE("dead"), &why), 0);
    begin(&n, &s);
    publish(&n, keys, 3);
    for (uint64_t i = 0; i < 2; i++) {
        struct claim c = claim(&n, 4, got);
        CHECK_EQ(c.count, 1);
        CHECK_EQ(got[0], i);
        CHECK(settle(&n, (struct settle){.what = SETTLE_DEAD, .offset = i, .claim = c.number}));
        check_snapshot(&n);
        restart(&n);
    }
    CHECK_EQ(n.group->state.dying, 2);
    CHECK_EQ(claim(&n, 4, got).count, 1);
    for (uint64_t i = 0; i < 2; i++)
        CHECK_EQ(groups_bury(n.groups, n.group, i, &want), 0);
    CHECK_EQ(n.group->state.settled.cursor, 2);
    CHECK_EQ(n.group->state.out.key_count, 1);
    buf_fini(&why);
    node_close(&n);
}

/* A topic of small files, and what its groups let go. */
TEST(test_what_all_groups_have_passed_is_known_once_it_is_committed)
{
    struct node n = {0};
    uint64_t got[16], want;
    struct group_settings s = group_settings_default;
    struct group_place from = {0, 0};
    begin(&n, &s);
    n.topic->settings.retain_groups = 1;
    for (int i = 0; i < 4; i++)
        publish_plain(&n, 1);
    CHECK_EQ(groups_create(n.groups, n.topic, SLICE("slow"), &s, &from, &want), 0);
    struct claim c = claim(&n, 4, got);
    for (uint64_t i = 0; i < 3; i++)
        CHECK(settle(&n, (struct settle){.what = SETTLE_ACK, .offset = i, .claim = c.number}));
    struct held_group *slow = groups_find(n.groups, n.topic, SLICE("slow"));
    from.cursor = 2;
    from.epoch = topic_last_epoch(n.topic);
    settle_disk(&n);
    CHECK_EQ(groups_seek(n.groups, slow, &from, &want), 0);
    for (int i = 0; i < 3; i++) {
        groups_trim(n.groups);
        CHECK_EQ(n.topic->groups.passed, 0);         /* the seek is not committed */
    }
    settle_disk(&n);
    groups_trim(n.groups);
    CHECK_EQ(n.topic->groups.passed, 2);
    from = (struct group_place){0, 0};
    CHECK_EQ(groups_seek(n.groups, slow, &from, &want), 0);
    groups_trim(n.groups);
    CHECK_EQ(n.topic->groups.passed, 0);             /* it has gone back */
    settle_disk(&n);
    CHECK_EQ(groups_delete(n.groups, slow, &want), 0);
    groups_trim(n.groups);
    groups_trim(n.groups);
    CHECK_EQ(n.topic->groups.passed, 0);             /* the delete is not committed */
    settle_disk(&n);
    groups_trim(n.groups);
    CHECK_EQ(n.topic->groups.passed, 3);
    restart(&n);
    n.topic->settings.retain_groups = 1;
    CHECK_EQ(topic_truncate(n.topic, 1), 0);         /* what is settled from there on is of another history */
    for (int i = 0; i < 4; i++)
        publish_plain(&n, 1);
    groups_trim(n.groups);
    groups_trim(n.groups);
    CHECK_EQ(n.topic->groups.passed, 1);
    node_close(&n);
}

/* Publishes one message of a key, with a header or none. */
static void publish_one(struct node *n, const char *key, const char *name, const char *value)
{
    struct buf messages = {0}, headers = {0};
    uint64_t first;
    if (name != NULL)
        header_write(&headers, slice_from(name), slice_from(value));
    message_write(&messages, &(struct message){
        .key = slice_from(key), .headers = buf_slice(&headers), .payload = SLICE("payload")});
    struct append a = {.messages = buf_slice(&messages), .count = 1};
    CHECK_EQ(topics_append(n->topic, &a, &first), 0);
    buf_fini(&messages);
    buf_fini(&headers);
    settle_disk(n);
}

TEST(test_what_a_filter_does_not_take_is_settled_when_a_claim_meets_it)
{
    struct node n = {0};
    uint64_t got[16];
    struct buf filter = {0}, why = {0};
    struct group_settings s = group_settings_default;
    CHECK_EQ(group_settings_set(&s, SLICE("filter"), SLICE("x"), &why), -ERR_BAD_VALUE);
    header_write(&filter, SLICE("hcolour"), SLICE("red"));
    header_write(&filter, SLICE("k"), SLICE("a"));
    CHECK_EQ(group_settings_set(&s, SLICE("filter"), buf_slice(&filter), &why), 0);
    begin(&n, &s);
    publish_one(&n, "a", "colour", "red");
    publish_one(&n, "b", "colour", "red");
    publish_one(&n, "a", "colour", "blue");
    publish_one(&n, "a", NULL, NULL);
    publish_one(&n, "a", "colour", "red");
    struct claim c = claim(&n, 1, got);
    CHECK_EQ(n.group->state.settled.above, 0);       /* no claim has met the others */
    c = claim(&n, 9, got);
    CHECK_EQ(c.count, 1);
    CHECK_EQ(got[0], 4);
    CHECK_EQ(n.group->state.settled.above, 3);
    check_snapshot(&n);
    restart(&n);
    CHECK_EQ(n.group->state.settled.above, 3);
    CHECK_EQ(n.group->state.count.dead + n.group->state.count.acks, 0);
    publish_one(&n, "b", NULL, NULL);
    CHECK_EQ(claim(&n, 9, got).count, 0);
    CHECK_EQ(group_top(&n.group->state), 6);         /* a cut of it would be noticed */
    buf_fini(&filter);
    buf_fini(&why);
    node_close(&n);
}

TEST(test_what_a_claim_passed_over_is_met_again_where_its_record_cannot_be_appended)
{
    struct node n = {0};
    uint64_t got[16];
    struct claim c;
    struct buf filter = {0}, why = {0}, out = {0};
    struct claim_options o = {SLICE("me"), 9, READ_SIZE_DEFAULT};
    struct group_settings s = group_settings_default;
    begin(&n, &s);
    for (int i = 0; i < 4; i++)
        publish_one(&n, i == 2 ? "a" : "b", NULL, NULL);
    c = claim(&n, 1, got);
    CHECK(settle(&n, (struct settle){.what = SETTLE_RELEASE, .offset = 0, .claim = c.number}));
    header_write(&filter, SLICE("k"), SLICE("a"));
    CHECK_EQ(group_settings_set(&n.group->state.settings, SLICE("filter"), buf_slice(&filter), &why), 0);
    topics_hold(n.topics, true);
    CHECK_EQ(groups_claim(n.groups, n.group, n.topic, &o, &out, &c), -ERR_NOT_LEADER);
    CHECK_EQ(n.group->state.settled.cursor + n.group->state.settled.above, 0);
    topics_hold(n.topics, false);
    CHECK_EQ(claim(&n, 9, got).count, 1);
    CHECK_EQ(got[0], 2);
    CHECK_EQ(n.group->state.settled.cursor, 2);
    CHECK_EQ(n.group->state.settled.above, 1);
    buf_fini(&filter);
    buf_fini(&out);
    buf_fini(&why);
    node_close(&n);
}

static void check_outdated(bool dead)
{
    struct node n = {0};
    uint64_t got[16], want;
    struct buf why = {0};
    struct group_settings s = group_settings_default;
    s.order = ORDER_KEY;
    CHECK_EQ(group_settings_set(&s, SLICE("expired"), dead ? SLICE("dead") : SLICE("drop"), &why), 0);
    CHECK_EQ(group_settings_set(&s, SLICE("dead_letter"), SLICE("dead"), &why), 0);
    begin(&n, &s);
    for (int i = 0; i < 2; i++)
        publish_one(&n, "a", "lignum-ttl", "10");
    publish_one(&n, "b", "lignum-ttl", "10");
    publish_one(&n, "b", "lignum-ttl", "60");
    struct claim c = claim(&n, 1, got);
    pass(&n, 11 * 1000);
    CHECK(settle(&n, (struct settle){.what = SETTLE_RELEASE, .offset = 0, .claim = c.number}));
    c = claim(&n, 9, got);
    CHECK_EQ(c.count, 1);
    CHECK_EQ(got[0], 3);
    check_snapshot(&n);
    restart(&n);
    CHECK_EQ(n.group->state.count.outdated, 3);
    CHECK_EQ(n.group->state.dying, dead ? 3 : 0);
    for (uint64_t i = 0; i < 3 && dead; i++) {
        CHECK_EQ(deliveries_find(&n.group->state.out, i)->claim, DYING_OUTDATED);
        CHECK_EQ(groups_bury(n.groups, n.group, i, &want), 0);
    }
    CHECK_EQ(n.group->state.settled.cursor, 3);
    buf_fini(&why);
    node_close(&n);
}

TEST(test_a_message_whose_ttl_is_over_is_not_delivered)
{
    check_outdated(false);
}

TEST(test_a_message_whose_ttl_is_over_dies_where_the_group_says_so)
{
    check_outdated(true);
}

/* A name that holds nothing gives its place to a new one. */
TEST(test_a_group_remembers_a_bounded_number_of_consumers)
{
    struct group g;
    char name[16];
    group_init(&g, &group_settings_default);
    for (int i = 1; i < 3 * GROUP_CONSUMERS_MAX; i++) {
        int n = snprintf(name, sizeof(name), "c%d", i);
        unsigned at = group_consumer(&g, slice_of(name, (size_t)n));
        CHECK(at > 0);
        CHECK(slice_eq(slice_from(g.consumers[at]->name), slice_of(name, (size_t)n)));
        CHECK_EQ(group_consumer(&g, slice_of(name, (size_t)n)), at);
        g.consumers[at]->last_ms = i;
        g.consumers[at]->leased = i == 7;
    }
    CHECK_EQ(g.consumer_count, GROUP_CONSUMERS_MAX);
    CHECK_EQ(group_consumer(&g, SLICE("")), 0);
    CHECK_EQ(group_consumer(&g, SLICE("c7")), 7);
    CHECK_EQ(g.consumers[7]->leased, 1);
    for (unsigned i = 1; i < GROUP_CONSUMERS_MAX; i++)
        g.consumers[i]->leased = 1;
    CHECK_EQ(group_consumer(&g, SLICE("one more")), 0);
    group_fini(&g);
}

/* Claims and releases many messages again and again, so that _groups grows. */
static void churn(struct node *n, int rounds)
{
    uint64_t want;
    uint64_t *got = mem_new(CLAIM_COUNT_MAX * sizeof(*got));
    struct settle *all = mem_new(CLAIM_COUNT_MAX * sizeof(*all));
    for (int i = 0; i < rounds; i++) {
        struct claim c = claim(n, CLAIM_COUNT_MAX, got);
        CHECK(c.count > 0);
        for (uint32_t k = 0; k < c.count; k++)
            all[k] = (struct settle){.what = SETTLE_RETURN, .offset = got[k], .claim = c.number};
        CHECK_EQ(groups_settle(n->groups, n->group, all, c.count, &want), 0);
        settle_disk(n);
    }
    mem_free(got);
    mem_free(all);
}

TEST(test_snapshots_let_old_files_go_and_keep_all_that_is_known)
{
    struct node n = {0};
    uint64_t got[8], want;
    struct group_settings s = group_settings_default;
    struct group_place from = {0, 0};
    s.lease_max = GROUP_AHEAD_MAX;
    begin(&n, &s);
    CHECK_EQ(groups_create(n.groups, n.topic, SLICE("idle"), &s, &from, &want), 0);
    for (int i = 0; i < 200; i++)
        publish_plain(&n, 16);
    struct claim c = claim(&n, 3, got);
    CHECK(settle(&n, (struct settle){.what = SETTLE_ACK, .offset = 1, .claim = c.number}));
    churn(&n, 100);
    groups_trim(n.groups);                           /* writes snapshots */
    CHECK_EQ(topic_first(groups_log(n.groups)), 0);
    settle_disk(&n);
    groups_trim(n.groups);                           /* which are committed now */
    CHECK(topic_first(groups_log(n.groups)) > 0);
    CHECK_EQ(groups_log(n.groups)->tail.at, n.groups->applied);
    restart(&n);
    CHECK(n.group != NULL);
    CHECK_EQ(n.group->state.settings.lease_max, GROUP_AHEAD_MAX);
    CHECK_EQ(n.group->state.out.leased, 2);
    CHECK(group_leased(&n.group->state, 0, c.number) != NULL);
    CHECK(settled_has(&n.group->state.settled, 1));
    CHECK(groups_find(n.groups, n.topic, SLICE("idle")) != NULL);
    CHECK(settle(&n, (struct settle){.what = SETTLE_ACK, .offset = 1, .claim = c.number}));
    struct journal_info info;
    churn(&n, 100);
    groups_trim(n.groups);
    settle_disk(&n);
    groups_trim(n.groups);
    journal_info(groups_log(n.groups)->journal, &info);
    CHECK(info.bytes < (uint64_t)GROUP_LOG_GROWTH + 2 * GROUP_LOG_SEGMENT);
    node_close(&n);
}

TEST(test_a_snapshot_that_is_not_committed_removes_nothing)
{
    struct node n = {0};
    struct group_settings s = group_settings_default;
    s.lease_max = GROUP_AHEAD_MAX;
    begin(&n, &s);
    for (int i = 0; i < 200; i++)
        publish_plain(&n, 16);
    churn(&n, 100);
    groups_trim(n.groups);
    store_flush(n.store);
    groups_trim(n.groups);
    CHECK_EQ(topic_first(groups_log(n.groups)), 0);
    node_close(&n);
}

TEST(test_groups_of_a_deleted_topic_are_deleted)
{
    struct node n = {0};
    uint64_t want;
    begin(&n, &group_settings_default);
    CHECK_EQ(topics_delete(n.topics, n.topic, &want), 0);
    settle_disk(&n);
    CHECK_EQ(groups_count(n.groups), 1);
    groups_trim(n.groups);
    CHECK_EQ(groups_count(n.groups), 0);
    n.topic = NULL;
    restart(&n);
    CHECK_EQ(groups_count(n.groups), 0);
    node_close(&n);
}

TEST(test_a_lease_costs_at_most_64_bytes)
{
    struct deliveries d;
    deliveries_init(&d, false);
    for (uint64_t i = 0; i < 1 << 16; i++)
        deliveries_lease(&d, deliveries_add(&d, i, 0), 1, (int64_t)i);
    size_t size = d.cap * sizeof(struct delivery) + d.bucket_count * 4 + d.timers.cap * 4;
    CHECK(size <= (size_t)64 << 16);
    deliveries_fini(&d);
}

TEST(test_no_record_can_crash_a_group)
{
    srandom(3);
    struct group g;
    group_init(&g, &group_settings_default);
    for (int i = 0; i < 20000; i++) {
        char bytes[80];
        size_t n = (size_t)random() % sizeof(bytes);
        for (size_t k = 0; k < n; k++)
            bytes[k] = random() % 3 ? 0 : (char)(random() % 16);
        if (n > 0)
            bytes[0] = (char)(random() % (RECORD_SHIFT + 2));
        struct message m = {.payload = slice_of(bytes, n)};
        group_apply(&g, &m);
    }
    group_fini(&g);
}
