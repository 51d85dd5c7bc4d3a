#include "broker/group/group_record.h"

#include "base/err.h"
#include "base/least.h"
#include "base/little_endian.h"
#include "broker/wire/wire.h"

enum {
    PART_MAX = 8 * 1024,               /* entries of one message of a snapshot */
    CLAIMED_SIZE = 8 + 8 + 4,          /* of a message in a claim */
};

/* The number of a claim and the hash of a key: 64 bits that are no count, for which get_u64 has a bound. */
static void put_bits(struct buf *out, uint64_t v)
{
    put_u32(out, (uint32_t)v);
    put_u32(out, (uint32_t)(v >> 32));
}

static uint64_t get_bits(struct wire *w)
{
    uint64_t low = get_u32(w);
    return low | (uint64_t)get_u32(w) << 32;
}

/* ---- writing ---- */

void record_create(struct buf *out, uint64_t cursor, uint64_t epoch)
{
    put_u8(out, RECORD_CREATE);
    put_u64(out, cursor);
    put_u64(out, epoch);
}

void record_kind_only(struct buf *out, enum record_kind kind)
{
    put_u8(out, kind);
}

void record_claim(struct buf *out, const struct claim_record *c, const struct claimed *all, uint32_t n)
{
    put_u8(out, RECORD_CLAIM);
    put_bits(out, c->claim);
    put_u64(out, (uint64_t)c->now_ms);
    put_u64(out, (uint64_t)c->until_ms);
    put_u64(out, c->epoch);
    put_u64(out, c->top);
    put_text(out, c->consumer);
    put_u32(out, n);
    for (uint32_t i = 0; i < n; i++) {
        char *to = buf_reserve(out, CLAIMED_SIZE);
        put64(to, all[i].offset);
        put64(to + 8, all[i].key);
        put32(to + 16, all[i].count);
        out->end += CLAIMED_SIZE;
    }
}

void record_settle(struct buf *out, const struct settle_run *runs, uint32_t n)
{
    put_u8(out, RECORD_SETTLE);
    put_u32(out, n);
    for (uint32_t i = 0; i < n; i++) {
        const struct settle_run *r = &runs[i];
        put_u8(out, r->what);
        put_u64(out, r->offset);
        put_u32(out, settle_is_range(r->what) ? r->n : r->count);
        put_bits(out, r->what == SETTLE_ACK || r->what == SETTLE_EXTEND || r->what == SETTLE_DYING ? r->claim : 0);
        put_u64(out, (uint64_t)r->at_ms);
        if (r->what == SETTLE_DYING)
            put_text(out, r->reason);
    }
}

void record_seek(struct buf *out, uint64_t cursor, uint64_t epoch, uint64_t generation)
{
    put_u8(out, RECORD_SEEK);
    put_u64(out, cursor);
    put_u64(out, epoch);
    put_u64(out, generation);
}

void record_offset(struct buf *out, enum record_kind kind, uint64_t to)
{
    put_u8(out, kind);
    put_u64(out, to);
}

void record_shift(struct buf *out, int64_t by_ms)
{
    put_u8(out, RECORD_SHIFT);
    put_bits(out, (uint64_t)by_ms);
}

/* ---- snapshots ---- */

struct snapshot {
    struct buf *out, payload;
    slice key;
    uint32_t messages;
};

static void part_end(struct snapshot *s, slice headers)
{
    message_write(s->out, &(struct message){.key = s->key, .headers = headers, .payload = buf_slice(&s->payload)});
    buf_clear(&s->payload);
    s->messages++;
}

static void put_head(struct buf *p, const struct group *g)
{
    put_u8(p, RECORD_SNAPSHOT);
    put_u64(p, g->settled.cursor);
    put_u64(p, g->generation);
    put_u64(p, g->count.redelivered);
    put_u64(p, g->count.dead);
    put_u64(p, g->count.removed);
    put_u64(p, g->count.outdated);
    put_u16(p, g->history_count);
    for (unsigned i = 0; i < g->history_count; i++) {
        put_u64(p, g->histories[i].epoch);
        put_u64(p, g->histories[i].top);
    }
    put_u16(p, g->consumer_count);
    for (unsigned i = 0; i < g->consumer_count; i++) {
        put_text(p, slice_from(g->consumers[i]->name));
        put_u64(p, (uint64_t)g->consumers[i]->last_ms);
    }
}

/* Begins a new part where one is full; `i` counts its entries. */
static void part_entry(struct snapshot *s, enum record_kind kind, size_t i)
{
    if (i % PART_MAX == 0 && i > 0)
        part_end(s, SLICE(""));
    if (i % PART_MAX == 0)
        put_u8(&s->payload, kind);
}

/* One that was never delivered is left out: it is as good as fresh. */
static void put_deliveries(struct snapshot *s, const struct group *g)
{
    size_t n = 0;
    const struct delivery *e;
    for (uint32_t at = 0; (e = deliveries_each(&g->out, &at)) != NULL;) {
        if (e->count == 0 && e->state != DELIVERY_LEASED && e->state != DELIVERY_DELAYED)
            continue;
        part_entry(s, RECORD_DELIVERIES, n++);
        put_u8(&s->payload, e->state);
        put_u64(&s->payload, e->offset);
        put_bits(&s->payload, e->key);
        put_bits(&s->payload, e->claim);
        put_u64(&s->payload, (uint64_t)e->at_ms);
        put_u32(&s->payload, e->count);
        put_u16(&s->payload, e->consumer);
        if (is_dying(e))
            put_text(&s->payload, group_reason(g, e));
    }
    if (n > 0)
        part_end(s, SLICE(""));
}

uint32_t record_snapshot(struct buf *out, const struct group *g, slice key, slice headers)
{
    struct snapshot s = {.out = out, .key = key};
    put_head(&s.payload, g);
    part_end(&s, headers);
    for (size_t i = 0; i < g->settled.count; i++) {
        part_entry(&s, RECORD_RANGES, i);
        put_u64(&s.payload, g->settled.at[g->settled.head + i].from);
        put_u64(&s.payload, g->settled.at[g->settled.head + i].to);
    }
    if (g->settled.count > 0)
        part_end(&s, SLICE(""));
    put_deliveries(&s, g);
    for (unsigned i = 0; i < g->acked_count; i++) {
        const struct acked *a = &g->acked[(g->acked_at + GROUP_ACKED_MAX - g->acked_count + i) % GROUP_ACKED_MAX];
        part_entry(&s, RECORD_ACKED, i);
        put_bits(&s.payload, a->claim);
        put_u64(&s.payload, a->from);
        put_u64(&s.payload, a->to);
    }
    if (g->acked_count > 0)
        part_end(&s, SLICE(""));
    buf_fini(&s.payload);
    return s.messages;
}

/* ---- reading ---- */

void record_settings(slice headers, struct group_settings *s)
{
    slice name, value;
    struct buf why = {0};
    while (header_read(&headers, &name, &value))
        group_settings_set(s, name, value, &why);
    buf_fini(&why);
}

static struct delivery *delivery_of(struct group *g, uint64_t offset, uint64_t key)
{
    struct delivery *e = deliveries_find(&g->out, offset);
    return e != NULL ? e : deliveries_add(&g->out, offset, key);
}

static void apply_claim(struct group *g, struct wire *w)
{
    uint64_t claim = get_bits(w);
    int64_t now_ms = (int64_t)get_u64(w), until_ms = (int64_t)get_u64(w);
    uint64_t epoch = get_u64(w), top = get_u64(w);
    unsigned consumer = group_consumer(g, get_text(w));
    g->consumers[consumer]->last_ms = now_ms;
    for (uint32_t n = get_u32(w); n > 0 && !w->bad; n--) {
        uint64_t offset = get_u64(w), key = get_bits(w);
        uint32_t count = get_u32(w);
        if (w->bad || settled_has(&g->settled, offset))
            continue;
        struct delivery *e = delivery_of(g, offset, key);
        delivery_set_count(e, count);
        group_hold(g, e, claim, until_ms, consumer);
        g->count.claims++;
        g->count.redelivered += count > 0;
    }
    group_note_history(g, epoch, top);
}

static void apply_end(struct group *g, const struct settle_run *r)
{
    struct delivery *e = deliveries_find(&g->out, r->offset);
    if (e == NULL)
        return;
    group_let_go(g, e);
    delivery_set_count(e, r->count);
    if (r->at_ms > 0)
        deliveries_delay(&g->out, e, r->at_ms);
    else
        deliveries_free(&g->out, e);
    g->count.releases += r->what == SETTLE_RELEASE;
    g->count.expired += r->what == SETTLE_EXPIRE;
}

static void apply_run(struct group *g, const struct settle_run *r)
{
    struct delivery *e;
    switch (r->what) {
    case SETTLE_ACK:
        group_settle(g, r->offset, r->offset + r->n);
        group_remember_ack(g, r->claim, r->offset, r->offset + r->n);
        g->count.acks += r->n;
        break;
    case SETTLE_DEAD:
        group_settle(g, r->offset, r->offset + r->n);
        g->count.dead += r->n;
        break;
    case SETTLE_RELEASE:
    case SETTLE_EXPIRE:
    case SETTLE_RETURN:
        apply_end(g, r);
        break;
    case SETTLE_LEAVE_OUT:
        group_settle(g, r->offset, r->offset + r->n);
        break;
    case SETTLE_OUTDATED:
        group_settle(g, r->offset, r->offset + r->n);
        g->count.outdated += r->n;
        break;
    case SETTLE_DYING:
        if (settled_has(&g->settled, r->offset))
            break;
        e = delivery_of(g, r->offset, 0);            /* an outdated one may have none */
        g->count.outdated += r->claim == DYING_OUTDATED;
        delivery_set_count(e, r->count);
        group_die(g, e, (enum dying_why)r->claim, r->reason);
        break;
    case SETTLE_EXTEND:
        e = deliveries_find(&g->out, r->offset);
        if (e != NULL)
            group_hold(g, e, r->claim, r->at_ms, e->consumer);
        break;
    }
}

static void apply_settle(struct group *g, struct wire *w)
{
    for (uint32_t n = get_u32(w); n > 0 && !w->bad; n--) {
        unsigned what = get_u8(w);
        struct settle_run r = {.what = (enum settle_what)what, .offset = get_u64(w)};
        r.n = r.count = get_u32(w);
        r.claim = get_bits(w);
        r.at_ms = (int64_t)get_u64(w);
        if (what == SETTLE_DYING)
            r.reason = get_text(w);
        w->bad = w->bad || what < SETTLE_ACK || what > SETTLE_OUTDATED || r.offset > UINT64_MAX - r.n ||
                 r.n > GROUP_DELIVERIES_MAX || (r.at_ms == DYING_MS) != (what == SETTLE_DYING);
        if (!w->bad)
            apply_run(g, &r);
    }
}

static void apply_snapshot(struct group *g, struct wire *w, slice headers)
{
    struct group_settings settings = g->settings;
    group_fini(g);
    record_settings(headers, &settings);
    group_init(g, &settings);
    settled_reset(&g->settled, get_u64(w));
    g->next = g->settled.cursor;
    g->generation = get_u64(w);
    g->count.redelivered = get_u64(w);
    g->count.dead = get_u64(w);
    g->count.removed = get_u64(w);
    g->count.outdated = get_u64(w);
    for (unsigned n = get_u16(w); n > 0 && !w->bad; n--) {
        uint64_t epoch = get_u64(w);
        group_note_history(g, epoch, get_u64(w));
    }
    for (unsigned n = get_u16(w); n > 0 && !w->bad; n--) {
        unsigned i = group_consumer(g, get_text(w));
        g->consumers[i]->last_ms = (int64_t)get_u64(w);
    }
}

static void apply_delivery(struct group *g, struct wire *w)
{
    unsigned state = get_u8(w);
    uint64_t offset = get_u64(w), key = get_bits(w), claim = get_bits(w);
    int64_t at_ms = (int64_t)get_u64(w);
    uint32_t count = get_u32(w);
    unsigned consumer = get_u16(w);
    bool dying = state == DELIVERY_DELAYED && at_ms == DYING_MS;
    slice reason = dying ? get_text(w) : SLICE("");
    if (w->bad || settled_has(&g->settled, offset))
        return;
    struct delivery *e = delivery_of(g, offset, key);
    group_let_go(g, e);
    delivery_set_count(e, count);
    if (state == DELIVERY_LEASED)
        group_hold(g, e, claim, at_ms, consumer);
    else if (dying)
        group_die(g, e, (enum dying_why)claim, reason);
    else if (state == DELIVERY_DELAYED)
        deliveries_delay(&g->out, e, at_ms);
    else
        deliveries_free(&g->out, e);
}

/* Ranges come before deliveries in a snapshot: what is settled is no delivery. */
static void apply_part(struct group *g, enum record_kind kind, struct wire *w)
{
    w->bad = w->bad || (kind == RECORD_RANGES && g->out.count > 0);
    while (w->rest.n > 0 && !w->bad) {
        if (kind == RECORD_DELIVERIES) {
            apply_delivery(g, w);
            continue;
        }
        uint64_t claim = kind == RECORD_ACKED ? get_bits(w) : 0;
        uint64_t from = get_u64(w), to = get_u64(w);
        if (w->bad)
            break;
        if (kind == RECORD_ACKED)
            group_remember_ack(g, claim, from, to);
        else
            settled_add(&g->settled, from, to);
    }
}

static void apply_cursor(struct group *g, struct wire *w, bool generation)
{
    uint64_t cursor = get_u64(w), epoch = get_u64(w);
    if (generation)
        g->generation = get_u64(w);
    if (!w->bad)
        group_seek(g, cursor, epoch);
}

static void apply_shift(struct group *g, struct wire *w)
{
    int64_t by_ms = (int64_t)get_bits(w);
    w->bad = w->bad || by_ms > JSON_INTEGER_MAX || by_ms < -JSON_INTEGER_MAX;
    if (!w->bad)
        deliveries_shift(&g->out, by_ms, DYING_MS);
}

int group_apply(struct group *g, const struct message *m)
{
    struct wire w = {.rest = m->payload};
    unsigned kind = get_u8(&w);
    switch (kind) {
    case RECORD_CREATE:
    case RECORD_SET:
        record_settings(m->headers, &g->settings);
        deliveries_set_keyed(&g->out, g->settings.order == ORDER_KEY);
        if (kind == RECORD_CREATE)
            apply_cursor(g, &w, false);
        break;
    case RECORD_CLAIM:
        apply_claim(g, &w);
        break;
    case RECORD_SETTLE:
        apply_settle(g, &w);
        break;
    case RECORD_SEEK:
        apply_cursor(g, &w, true);
        break;
    case RECORD_GONE:
        group_remove_below(g, get_u64(&w));
        break;
    case RECORD_CUT:
        group_cut(g, get_u64(&w));
        break;
    case RECORD_SNAPSHOT:
        apply_snapshot(g, &w, m->headers);
        break;
    case RECORD_RANGES:
    case RECORD_DELIVERIES:
    case RECORD_ACKED:
        apply_part(g, (enum record_kind)kind, &w);
        break;
    case RECORD_SHIFT:
        apply_shift(g, &w);
        break;
    default:
        return -ERR_FORMAT;
    }
    return w.bad ? -ERR_FORMAT : 0;
}
