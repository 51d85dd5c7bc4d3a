/*
 * Arbitrary records of a group, and headers of its messages. They must not crash, the invariants of doc/groups.md
 * hold after each record, and a snapshot brings back the same group.
 *
 * The first byte chooses whether keys matter. Records follow: two bytes each of the sizes of headers and payload,
 * headers, payload.
 */
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "broker/group/due.h"
#include "broker/group/filter.h"
#include "broker/group/group_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RECORDS_MAX = 64, SIZE_MAX_TRIED = 4096 };
static const int64_t now_ms = INT64_C(1796000000000);

static void check_settled(const struct settled *s)
{
    uint64_t before = s->cursor, above = 0;
    for (size_t i = 0; i < s->count; i++) {
        const struct range *r = &s->at[s->head + i];
        ENSURE(r->from > before);
        ENSURE(r->to > r->from);
        above += r->to - r->from;
        before = r->to;
    }
    ENSURE(above == s->above);
}

static void check_deliveries(const struct group *g)
{
    uint32_t count = 0, leased = 0, delayed = 0, dying = 0, by_consumer = 0;
    const struct delivery *e;
    for (uint32_t at = 0; (e = deliveries_each(&g->out, &at)) != NULL; count++) {
        ENSURE(e->offset >= g->settled.cursor);
        ENSURE(!settled_has(&g->settled, e->offset));
        ENSURE(deliveries_find(&g->out, e->offset) == e);
        leased += e->state == DELIVERY_LEASED;
        delayed += e->state == DELIVERY_DELAYED;
        dying += is_dying(e);
    }
    ENSURE(count == g->out.count);
    ENSURE(leased == g->out.leased);
    ENSURE(delayed == g->out.delayed);
    ENSURE(dying == g->dying);
    for (unsigned i = 0; i < g->consumer_count; i++)
        by_consumer += g->consumers[i]->leased;
    ENSURE(by_consumer <= leased);
    for (unsigned i = 1; i < g->history_count; i++)
        ENSURE(g->histories[i - 1].epoch < g->histories[i].epoch);
}

static void check(const struct group *g)
{
    check_settled(&g->settled);
    check_deliveries(g);
}

/* What the leader asks between two records. */
static void ask(struct group *g)
{
    struct delivery *e = group_expired(g, now_ms);
    uint64_t fresh = group_fresh(g);
    ENSURE(!settled_has(&g->settled, fresh));
    ENSURE(deliveries_find(&g->out, fresh) == NULL);
    if (e != NULL) {
        ENSURE(group_leased(g, e->offset, e->claim) == e);
        group_has_acked(g, e->offset, e->claim);
    }
    e = deliveries_first(&g->out);
    ENSURE(e == NULL || e->state == DELIVERY_READY);
    ENSURE(group_room(g) <= g->settings.lease_max);
}

static void same(const struct group *a, const struct group *b)
{
    ENSURE(a->settled.cursor == b->settled.cursor);
    ENSURE(a->settled.count == b->settled.count);
    ENSURE(a->settled.above == b->settled.above);
    ENSURE(a->generation == b->generation);
    ENSURE(a->out.leased == b->out.leased);
    ENSURE(a->out.delayed == b->out.delayed);
    ENSURE(a->dying == b->dying);
    ENSURE(a->acked_count == b->acked_count);
    ENSURE(group_top(a) == group_top(b));
}

static void try_snapshot(const struct group *g)
{
    struct buf all = {0};
    struct group again;
    struct message m;
    group_init(&again, &g->settings);
    uint32_t count = record_snapshot(&all, g, SLICE("1:2/g"), SLICE(""));
    slice rest = buf_slice(&all);
    for (uint32_t i = 0; i < count; i++) {
        ENSURE(message_read(&rest, &m) == 0);
        ENSURE(group_apply(&again, &m) == 0);
    }
    ENSURE(rest.n == 0);
    check(&again);
    same(g, &again);
    group_fini(&again);
    buf_fini(&all);
}

/* The headers of a message, which a claim looks at, and those of a record. */
static void try_headers(const struct group *g, slice headers)
{
    slice rest = headers, name, value;
    struct due due = due_of(headers, now_ms);
    ENSURE(due.from_ms <= now_ms + (int64_t)GROUP_DELAY_MS_MAX);
    while (header_read(&rest, &name, &value)) {
        due_check(name, value, now_ms);
        if (filter_check(value) != NULL)
            continue;
        filter_takes(value, &(struct message){.headers = headers, .key = name});
        filter_function(value);
    }
    ENSURE(g->settings.lease_max >= 1);
}

/* The next `n` bytes in memory of their own, so that sanitizers see reads beyond them. */
static slice copied(slice *rest, size_t n)
{
    if (n > rest->n)
        n = rest->n;
    char *copy = malloc(n ? n : 1);
    memcpy(copy, rest->p, n);
    *rest = slice_skip(*rest, n);
    return slice_of(copy, n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct group g;
    struct group_settings settings = group_settings_default;
    if (size < 1 || size > SIZE_MAX_TRIED)
        return 0;
    settings.order = data[0] & 1 ? ORDER_KEY : ORDER_NONE;
    group_init(&g, &settings);
    slice rest = slice_of((const char *)data + 1, size - 1);
    for (int i = 0; i < RECORDS_MAX && rest.n >= 4; i++) {
        const unsigned char *u = (const unsigned char *)rest.p;
        size_t headers = u[0] | (size_t)u[1] << 8, payload = u[2] | (size_t)u[3] << 8;
        rest = slice_skip(rest, 4);
        struct message m = {.headers = copied(&rest, headers), .key = SLICE("1:2/g")};
        m.payload = copied(&rest, payload);
        try_headers(&g, m.headers);
        group_apply(&g, &m);
        free((char *)(uintptr_t)m.headers.p);
        free((char *)(uintptr_t)m.payload.p);
        check(&g);
        ask(&g);
        check(&g);
    }
    try_snapshot(&g);
    group_fini(&g);
    return 0;
}
