#include "broker/group/group.h"

#include <string.h>

#include "base/least.h"
#include "base/mem.h"

struct reason {
    uint64_t offset;
    size_t size;
    char text[];
};

void group_init(struct group *g, const struct group_settings *settings)
{
    *g = (struct group){.settings = *settings, .generation = 1};
    deliveries_init(&g->out, settings->order == ORDER_KEY);
    map_init(&g->reasons);
    map_init(&g->consumers_by_name);
}

void group_fini(struct group *g)
{
    settled_fini(&g->settled);
    deliveries_fini(&g->out);
    mem_free(g->acked);
    void *reason;
    for (size_t at = 0; (reason = map_next(&g->reasons, &at)) != NULL;)
        mem_free(reason);
    map_fini(&g->reasons);
    for (unsigned i = 0; i < g->consumer_count; i++)
        mem_free(g->consumers[i]);
    mem_free(g->consumers);
    map_fini(&g->consumers_by_name);
}

/* ---- what the leader asks ---- */

uint64_t group_fresh(struct group *g)
{
    uint64_t at = settled_next(&g->settled, g->next);
    while (deliveries_find(&g->out, at) != NULL)
        at = settled_next(&g->settled, at + 1);
    g->next = at;
    return at;
}

int64_t group_wake_delayed(struct group *g, int64_t now_ms)
{
    struct delivery *e;
    while ((e = deliveries_next_due(&g->out)) != NULL && e->state == DELIVERY_DELAYED && e->at_ms <= now_ms)
        deliveries_free(&g->out, e);
    return e == NULL || e->at_ms >= DYING_MS ? INT64_MAX : e->at_ms;
}

struct delivery *group_expired(struct group *g, int64_t now_ms)
{
    group_wake_delayed(g, now_ms);
    struct delivery *e = deliveries_next_due(&g->out);
    return e != NULL && e->state == DELIVERY_LEASED && e->at_ms <= now_ms ? e : NULL;
}

struct delivery *group_leased(struct group *g, uint64_t offset, uint64_t claim)
{
    struct delivery *e = deliveries_find(&g->out, offset);
    return e != NULL && e->state == DELIVERY_LEASED && e->claim == claim ? e : NULL;
}

bool group_has_acked(const struct group *g, uint64_t offset, uint64_t claim)
{
    for (unsigned i = 0; i < g->acked_count; i++)
        if (g->acked[i].claim == claim && g->acked[i].from <= offset && offset < g->acked[i].to)
            return true;
    return false;
}

uint32_t group_room(const struct group *g)
{
    return g->out.leased < g->settings.lease_max ? (uint32_t)g->settings.lease_max - g->out.leased : 0;
}

bool group_is_blocked(const struct group *g)
{
    return g->out.count >= GROUP_AHEAD_MAX;
}

uint64_t group_top(const struct group *g)
{
    return g->history_count == 0 ? 0 : g->histories[g->history_count - 1].top;
}

/* ---- consumers ---- */

/* A place for a new name. One that holds nothing gives its place: the one that has been away longest. NULL: none. */
static struct consumer *consumer_place(struct group *g)
{
    struct consumer *oldest = NULL, *c;
    if (g->consumer_count < GROUP_CONSUMERS_MAX) {
        c = MEM_NEW(struct consumer);
        c->place = g->consumer_count;
        g->consumers = mem_resize(g->consumers, (g->consumer_count + 1) * sizeof(g->consumers[0]));
        return g->consumers[g->consumer_count++] = c;
    }
    for (unsigned i = 1; i < g->consumer_count; i++) {
        c = g->consumers[i];
        if (c->leased == 0 && (oldest == NULL || c->last_ms < oldest->last_ms))
            oldest = c;
    }
    if (oldest != NULL)
        map_remove(&g->consumers_by_name, slice_from(oldest->name));
    return oldest;
}

unsigned group_consumer(struct group *g, slice name)
{
    if (g->consumer_count == 0)
        map_put(&g->consumers_by_name, SLICE(""), consumer_place(g));
    name = slice_of(name.p, least(name.n, GROUP_CONSUMER_NAME_MAX));
    struct consumer *c = map_get(&g->consumers_by_name, name);
    if (c != NULL)
        return c->place;
    c = consumer_place(g);
    if (c == NULL)
        return 0;
    *c = (struct consumer){.place = c->place};
    memcpy(c->name, name.p, name.n);
    map_put(&g->consumers_by_name, slice_of(c->name, name.n), c);
    return c->place;
}

static slice reason_key(const uint64_t *offset)
{
    return slice_of((const char *)offset, sizeof(*offset));
}

/* The delivery is neither leased nor dying any more. */
static void leave(struct group *g, const struct delivery *e)
{
    if (e->state == DELIVERY_LEASED && e->consumer < g->consumer_count)
        g->consumers[e->consumer]->leased--;
    if (!is_dying(e))
        return;
    g->dying--;
    mem_free(map_remove(&g->reasons, reason_key(&e->offset)));
}

void group_hold(struct group *g, struct delivery *e, uint64_t claim, int64_t until_ms, unsigned consumer)
{
    leave(g, e);
    deliveries_lease(&g->out, e, claim, until_ms);
    e->consumer = consumer & 1023;
    if (consumer < g->consumer_count)
        g->consumers[consumer]->leased++;
}

void group_let_go(struct group *g, struct delivery *e)
{
    leave(g, e);
    deliveries_delay(&g->out, e, INT64_MAX);
}

/* ---- what records do ---- */

void group_note_history(struct group *g, uint64_t epoch, uint64_t top)
{
    unsigned n = g->history_count;
    if (n > 0 && epoch < g->histories[n - 1].epoch)
        return;
    if (n > 0 && epoch == g->histories[n - 1].epoch) {
        if (top > g->histories[n - 1].top)
            g->histories[n - 1].top = top;
        return;
    }
    if (n == GROUP_HISTORIES_MAX) {
        memmove(&g->histories[0], &g->histories[1], (n - 1) * sizeof(g->histories[0]));
        n--;
    }
    g->histories[n] = (struct history){epoch, n > 0 && g->histories[n - 1].top > top ? g->histories[n - 1].top : top};
    g->history_count = n + 1;
}

slice group_reason(const struct group *g, const struct delivery *e)
{
    const struct reason *r = map_get(&g->reasons, reason_key(&e->offset));
    return r == NULL ? SLICE("") : slice_of(r->text, r->size);
}

static void forget(struct group *g, struct delivery *e)
{
    leave(g, e);
    deliveries_remove(&g->out, e);
}

/* Forgets the deliveries of [from, to). */
static void forget_range(struct group *g, uint64_t from, uint64_t to)
{
    struct delivery *e;
    for (uint32_t i = 0; (e = deliveries_each(&g->out, &i)) != NULL;)
        if (e->offset >= from && e->offset < to)
            forget(g, e);
}

/* Steps through the offsets or through the deliveries, whichever are fewer. */
void group_settle(struct group *g, uint64_t from, uint64_t to)
{
    struct delivery *e;
    if (to - from > g->out.used)
        forget_range(g, from, to);
    else
        for (uint64_t offset = from; offset < to; offset++)
            if ((e = deliveries_find(&g->out, offset)) != NULL)
                forget(g, e);
    settled_add(&g->settled, from, to);
}

void group_remember_ack(struct group *g, uint64_t claim, uint64_t from, uint64_t to)
{
    if (g->acked == NULL)
        g->acked = mem_new(GROUP_ACKED_MAX * sizeof(g->acked[0]));
    struct acked *last = &g->acked[(g->acked_at + GROUP_ACKED_MAX - 1) % GROUP_ACKED_MAX];
    if (g->acked_count > 0 && last->claim == claim && last->to == from) {
        last->to = to;
        return;
    }
    g->acked[g->acked_at] = (struct acked){claim, from, to};
    g->acked_at = (g->acked_at + 1) % GROUP_ACKED_MAX;
    g->acked_count += g->acked_count < GROUP_ACKED_MAX;
}

void group_die(struct group *g, struct delivery *e, enum dying_why why, slice reason)
{
    group_let_go(g, e);
    g->dying++;
    if (reason.n > 0) {
        struct reason *r = mem_new(sizeof(*r) + reason.n);
        r->offset = e->offset;
        r->size = reason.n;
        memcpy(r->text, reason.p, reason.n);
        map_put(&g->reasons, reason_key(&r->offset), r);
    }
    deliveries_delay(&g->out, e, DYING_MS);
    deliveries_drop_key(&g->out, e);
    e->claim = why;
}

void group_seek(struct group *g, uint64_t cursor, uint64_t epoch)
{
    forget_range(g, 0, UINT64_MAX);
    settled_reset(&g->settled, cursor);
    g->next = cursor;
    g->history_count = 0;
    g->acked_count = g->acked_at = 0;
    if (cursor > 0)
        group_note_history(g, epoch, cursor);
}

void group_cut(struct group *g, uint64_t to)
{
    forget_range(g, to, UINT64_MAX);
    settled_cut(&g->settled, to);
    g->next = least(g->next, to);
    while (g->history_count > 1 && g->histories[g->history_count - 2].top >= to)
        g->history_count--;
    if (g->history_count > 0)
        g->histories[g->history_count - 1].top = least(g->histories[g->history_count - 1].top, to);
    for (unsigned i = 0; i < g->acked_count; i++)
        g->acked[i].to = least(g->acked[i].to, to);
}

void group_remove_below(struct group *g, uint64_t to)
{
    uint64_t cursor = g->settled.cursor, above = g->settled.above;
    if (to <= cursor)
        return;
    forget_range(g, 0, to);
    settled_add(&g->settled, cursor, to);
    uint64_t settled_before = above - g->settled.above;      /* of the range, and right behind it */
    g->count.removed += g->settled.cursor - cursor - settled_before;
}
