#include "broker/group/deliveries.h"

#include <stddef.h>
#include <string.h>

#include "base/ensure.h"
#include "base/mem.h"

#define NONE UINT32_MAX
#define FREE (UINT32_MAX - 1)        /* in `place`: this one is in no use */
enum { CAP_FIRST = 16, CAP_LARGE = 2048 };

struct key_slot {
    uint64_t key;                    /* 0: free */
    uint32_t first;
    uint32_t last;
    uint32_t leased;
    uint32_t count;                  /* of all in the chain */
};

_Static_assert(sizeof(struct delivery) == 48, "what a lease costs");

void deliveries_init(struct deliveries *d, bool keyed)
{
    *d = (struct deliveries){.free = NONE, .keyed = keyed};
}

void deliveries_fini(struct deliveries *d)
{
    mem_free(d->all);
    mem_free(d->buckets);
    mem_free(d->timers.at);
    mem_free(d->ready.at);
    mem_free(d->keys);
    deliveries_init(d, d->keyed);
}

static uint32_t index_of(const struct deliveries *d, const struct delivery *e)
{
    return (uint32_t)(e - d->all);
}

/* Room for one more: twice as much, or from some thousands on a sixteenth more, so that little is empty. */
static uint32_t grown(uint32_t cap)
{
    return cap == 0 ? CAP_FIRST : cap < CAP_LARGE ? cap * 2 : cap + cap / 16;
}

/* ---- heaps ---- */

static struct heap *heap_of(struct deliveries *d, const struct delivery *e)
{
    return e->state == DELIVERY_READY ? &d->ready : e->state == DELIVERY_HELD ? NULL : &d->timers;
}

static bool is_before(const struct deliveries *d, const struct heap *h, uint32_t a, uint32_t b)
{
    const struct delivery *x = &d->all[a], *y = &d->all[b];
    if (h == &d->timers && x->at_ms != y->at_ms)
        return x->at_ms < y->at_ms;
    return x->offset < y->offset;
}

static void heap_put(struct deliveries *d, struct heap *h, uint32_t place, uint32_t e)
{
    h->at[place] = e;
    d->all[e].place = place;
}

static void heap_up(struct deliveries *d, struct heap *h, uint32_t place)
{
    uint32_t e = h->at[place];
    for (uint32_t above; place > 0 && is_before(d, h, e, h->at[above = (place - 1) / 2]); place = above)
        heap_put(d, h, place, h->at[above]);
    heap_put(d, h, place, e);
}

static void heap_down(struct deliveries *d, struct heap *h, uint32_t place)
{
    uint32_t e = h->at[place];
    for (uint32_t below; (below = place * 2 + 1) < h->count; place = below) {
        if (below + 1 < h->count && is_before(d, h, h->at[below + 1], h->at[below]))
            below++;
        if (!is_before(d, h, h->at[below], e))
            break;
        heap_put(d, h, place, h->at[below]);
    }
    heap_put(d, h, place, e);
}

static void heap_add(struct deliveries *d, struct heap *h, uint32_t e)
{
    if (h->count == h->cap) {
        h->cap = grown(h->cap);
        h->at = mem_resize(h->at, h->cap * sizeof(h->at[0]));
    }
    h->at[h->count] = e;
    heap_up(d, h, h->count++);
}

static void heap_remove(struct deliveries *d, struct heap *h, uint32_t place)
{
    uint32_t last = h->at[--h->count];
    if (place == h->count)
        return;
    heap_put(d, h, place, last);
    heap_up(d, h, place);
    heap_down(d, h, d->all[last].place);
}

/* ---- keys ---- */

static uint32_t key_place(const struct deliveries *d, uint64_t key)
{
    uint32_t i = (uint32_t)(key ^ key >> 32) & (d->key_cap - 1);
    while (d->keys[i].key != 0 && d->keys[i].key != key)
        i = (i + 1) & (d->key_cap - 1);
    return i;
}

static struct key_slot *key_of(const struct deliveries *d, const struct delivery *e)
{
    return d->keyed && e->key != 0 ? &d->keys[key_place(d, e->key)] : NULL;
}

static void keys_grow(struct deliveries *d)
{
    struct key_slot *old = d->keys;
    uint32_t cap = d->key_cap;
    d->key_cap = cap == 0 ? CAP_FIRST : cap * 2;
    d->keys = mem_new(d->key_cap * sizeof(d->keys[0]));
    for (uint32_t i = 0; i < cap; i++)
        if (old[i].key != 0)
            d->keys[key_place(d, old[i].key)] = old[i];
    mem_free(old);
}

/* Slots behind it move into the hole, so that a probe ends at the first free one. */
static void key_remove(struct deliveries *d, uint64_t key)
{
    uint32_t mask = d->key_cap - 1, hole = key_place(d, key);
    for (uint32_t i = (hole + 1) & mask; d->keys[i].key != 0; i = (i + 1) & mask) {
        uint32_t home = (uint32_t)(d->keys[i].key ^ d->keys[i].key >> 32) & mask;
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            d->keys[hole] = d->keys[i];
            hole = i;
        }
    }
    d->keys[hole] = (struct key_slot){0};
    d->key_count--;
}

/* ---- states ---- */

/* Leaves the state in which it is; it is held then, in no heap. */
static void state_leave(struct deliveries *d, struct delivery *e)
{
    struct heap *h = heap_of(d, e);
    struct key_slot *slot = key_of(d, e);
    if (h != NULL)
        heap_remove(d, h, e->place);
    d->leased -= e->state == DELIVERY_LEASED;
    d->delayed -= e->state == DELIVERY_DELAYED;
    if (slot != NULL)
        slot->leased -= e->state == DELIVERY_LEASED;
    e->state = DELIVERY_HELD;
}

static void state_enter(struct deliveries *d, struct delivery *e, enum delivery_state state)
{
    struct key_slot *slot = key_of(d, e);
    e->state = state & 3;
    d->leased += state == DELIVERY_LEASED;
    d->delayed += state == DELIVERY_DELAYED;
    if (slot != NULL)
        slot->leased += state == DELIVERY_LEASED;
    heap_add(d, heap_of(d, e), index_of(d, e));
}

/* The first of the key becomes ready where nothing stands against it. */
static void key_settle(struct deliveries *d, const struct key_slot *slot)
{
    if (slot->first != NONE && slot->leased == 0 && d->all[slot->first].state == DELIVERY_HELD)
        state_enter(d, &d->all[slot->first], DELIVERY_READY);
}

void deliveries_lease(struct deliveries *d, struct delivery *e, uint64_t claim, int64_t until_ms)
{
    bool stays = e->state == DELIVERY_LEASED && e->at_ms == until_ms;   /* as when the record of a claim is applied */
    if (!stays)
        state_leave(d, e);
    e->claim = claim;
    e->at_ms = until_ms;
    if (!stays)
        state_enter(d, e, DELIVERY_LEASED);
}

void deliveries_delay(struct deliveries *d, struct delivery *e, int64_t until_ms)
{
    state_leave(d, e);
    e->claim = 0;
    e->at_ms = until_ms;
    state_enter(d, e, DELIVERY_DELAYED);
    if (key_of(d, e) != NULL)
        key_settle(d, key_of(d, e));
}

void deliveries_free(struct deliveries *d, struct delivery *e)
{
    state_leave(d, e);
    e->claim = 0;
    e->at_ms = 0;
    if (key_of(d, e) == NULL)
        state_enter(d, e, DELIVERY_READY);
    else
        key_settle(d, key_of(d, e));
}

/* ---- adding and removing ---- */

static uint32_t *bucket_of(const struct deliveries *d, uint64_t offset)
{
    return &d->buckets[offset & (d->bucket_count - 1)];   /* offsets are dense, so they spread by themselves */
}

static void buckets_grow(struct deliveries *d)
{
    d->bucket_count = d->bucket_count == 0 ? CAP_FIRST : d->bucket_count * 2;
    d->buckets = mem_resize(d->buckets, d->bucket_count * sizeof(d->buckets[0]));
    memset(d->buckets, 0xff, d->bucket_count * sizeof(d->buckets[0]));
    for (uint32_t i = 0; i < d->used; i++) {
        struct delivery *e = &d->all[i];
        if (e->place == FREE)
            continue;
        e->chain = *bucket_of(d, e->offset);
        *bucket_of(d, e->offset) = i;
    }
}

struct delivery *deliveries_find(const struct deliveries *d, uint64_t offset)
{
    if (d->count == 0)
        return NULL;
    uint32_t i = *bucket_of(d, offset);
    while (i != NONE && d->all[i].offset != offset)
        i = d->all[i].chain;
    return i == NONE ? NULL : &d->all[i];
}

static struct delivery *take_free(struct deliveries *d)
{
    if (d->free != NONE) {
        struct delivery *e = &d->all[d->free];
        d->free = e->chain;
        return e;
    }
    if (d->used == d->cap) {
        d->cap = grown(d->cap);
        d->all = mem_resize(d->all, d->cap * sizeof(d->all[0]));
    }
    return &d->all[d->used++];
}

/* Into the chain of its key, at the place of its offset: nearly always at the end. */
static void key_add(struct deliveries *d, struct delivery *e)
{
    if ((d->key_count + 1) * 2 > d->key_cap)
        keys_grow(d);
    struct key_slot *slot = key_of(d, e);
    uint32_t me = index_of(d, e);
    if (slot->key == 0) {
        *slot = (struct key_slot){e->key, me, me, 0, 1};
        d->key_count++;
        return;
    }
    slot->count++;
    if (d->all[slot->last].offset < e->offset) {
        d->all[slot->last].next_of_key = me;
        slot->last = me;
        return;
    }
    struct delivery *first = &d->all[slot->first];
    if (e->offset < first->offset && first->state == DELIVERY_READY)
        state_leave(d, first);
    uint32_t *at = &slot->first;
    while (d->all[*at].offset < e->offset)
        at = &d->all[*at].next_of_key;
    e->next_of_key = *at;
    *at = me;
}

static void key_drop(struct deliveries *d, struct key_slot *slot, struct delivery *e)
{
    uint32_t me = index_of(d, e), before = NONE, *at = &slot->first;
    while (*at != me) {
        before = *at;
        at = &d->all[*at].next_of_key;
    }
    *at = e->next_of_key;
    slot->count--;
    if (slot->last == me)
        slot->last = before;
    if (slot->first == NONE)
        key_remove(d, e->key);
    else
        key_settle(d, slot);
}

struct delivery *deliveries_add(struct deliveries *d, uint64_t offset, uint64_t key)
{
    struct delivery *e = take_free(d);
    *e = (struct delivery){.offset = offset, .key = key, .state = DELIVERY_HELD, .next_of_key = NONE};
    if (d->count++ >= d->bucket_count) {
        buckets_grow(d);                             /* which also enters this one */
    } else {
        e->chain = *bucket_of(d, offset);
        *bucket_of(d, offset) = index_of(d, e);
    }
    if (d->keyed && key != 0)
        key_add(d, e);
    deliveries_free(d, e);
    return e;
}

void deliveries_drop_key(struct deliveries *d, struct delivery *e)
{
    struct key_slot *slot = key_of(d, e);
    if (slot != NULL)
        key_drop(d, slot, e);
    e->key = 0;
    e->next_of_key = NONE;
}

void deliveries_remove(struct deliveries *d, struct delivery *e)
{
    struct key_slot *slot = key_of(d, e);
    state_leave(d, e);
    if (slot != NULL)
        key_drop(d, slot, e);
    uint32_t me = index_of(d, e), *at = bucket_of(d, e->offset);
    while (*at != me)
        at = &d->all[*at].chain;
    *at = e->chain;
    e->chain = d->free;
    e->place = FREE;
    d->free = me;
    d->count--;
}

void deliveries_shift(struct deliveries *d, int64_t by_ms, int64_t never_ms)
{
    for (uint32_t i = 0; i < d->timers.count; i++) {
        struct delivery *e = &d->all[d->timers.at[i]];
        if (e->at_ms >= never_ms)
            continue;
        e->at_ms += by_ms;
        if (e->at_ms < 1)
            e->at_ms = 1;
        if (e->at_ms >= never_ms)
            e->at_ms = never_ms - 1;
    }
    for (uint32_t i = d->timers.count / 2; i > 0; i--)   /* two times that were cut to one may be in the wrong order */
        heap_down(d, &d->timers, i - 1);
}

struct delivery *deliveries_first(const struct deliveries *d)
{
    return d->ready.count == 0 ? NULL : &d->all[d->ready.at[0]];
}

struct delivery *deliveries_next_due(const struct deliveries *d)
{
    return d->timers.count == 0 ? NULL : &d->all[d->timers.at[0]];
}

struct delivery *deliveries_each(const struct deliveries *d, uint32_t *at)
{
    while (*at < d->used && d->all[*at].place == FREE)
        (*at)++;
    return *at < d->used ? &d->all[(*at)++] : NULL;
}

/* Of the key of a delivery, the one for which the others wait. */
static const struct delivery *in_front(const struct deliveries *d, const struct delivery *e)
{
    const struct key_slot *slot = key_of(d, e);
    if (slot == NULL)
        return e;
    e = &d->all[slot->first];
    while (slot->leased > 0 && e->state != DELIVERY_LEASED)
        e = &d->all[e->next_of_key];
    return e;
}

/* The key that more than half of all have; NULL: there is none. Each look meets such a key by one half, so that
 * LOOKS_MAX of them miss it never. The looks are at places that no order of keys has. */
static const struct key_slot *common_key(const struct deliveries *d)
{
    enum { LOOKS_MAX = 128 };
    uint32_t looks = d->used < LOOKS_MAX ? d->used : LOOKS_MAX;
    for (uint32_t i = 0; i < looks; i++) {
        const struct delivery *e = &d->all[looks == d->used ? i : i * UINT32_C(2654435769) % d->used];
        const struct key_slot *slot = e->place == FREE ? NULL : key_of(d, e);
        if (slot != NULL && slot->count > d->count / 2)
            return slot;
    }
    return NULL;
}

const struct delivery *deliveries_foremost(const struct deliveries *d, uint64_t lowest, uint32_t *held)
{
    const struct key_slot *slot = common_key(d);
    const struct delivery *e = slot != NULL ? &d->all[slot->first] : deliveries_find(d, lowest);
    if (e == NULL)
        e = d->ready.count > 0 ? deliveries_first(d) : deliveries_next_due(d);
    *held = e != NULL && key_of(d, e) != NULL ? key_of(d, e)->count - 1 : 0;
    return e == NULL ? NULL : in_front(d, e);
}

void deliveries_set_keyed(struct deliveries *d, bool keyed)
{
    struct delivery *e;
    if (keyed == d->keyed)
        return;
    mem_free(d->keys);
    d->keys = NULL;
    d->key_count = d->key_cap = 0;
    d->keyed = false;
    for (uint32_t i = 0; (e = deliveries_each(d, &i)) != NULL;)
        if (e->state == DELIVERY_HELD)
            state_enter(d, e, DELIVERY_READY);
    d->keyed = keyed;
    for (uint32_t i = 0; keyed && (e = deliveries_each(d, &i)) != NULL;) {
        enum delivery_state state = (enum delivery_state)e->state;
        e->next_of_key = NONE;
        if (e->key == 0)
            continue;
        key_add(d, e);
        struct key_slot *slot = key_of(d, e);
        slot->leased += state == DELIVERY_LEASED;
        if (state == DELIVERY_READY && (slot->first != index_of(d, e) || slot->leased > 0)) {
            d->keyed = false;                        /* it was not counted in the slot */
            state_leave(d, e);
            d->keyed = true;
        }
    }
}
