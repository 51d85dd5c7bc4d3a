#include "script/std/shared.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/map.h"
#include "base/mem.h"

enum { ENTRY_COST = 128 };            /* bytes of an entry beside its key and its value: itself, its slot, malloc */

struct dict {
    struct map entries;               /* owned, and its values */
    struct dict_entry **heap;         /* owned; those that expire, the next one at 1; [0] is unused */
    size_t heap_count, heap_cap;
    size_t bytes, bytes_max;
    size_t name_size;
    char name[];
};

struct shared {
    struct map dicts;                 /* owned, and its values */
    size_t bytes_max;                 /* of all */
};

/* ---- the heap: no entry expires before its parent ---- */

static void heap_put(struct dict *d, size_t place, struct dict_entry *e)
{
    d->heap[place] = e;
    e->place = place;
}

/* Moves the entry to where it belongs, up or down from its place. */
static void heap_settle(struct dict *d, struct dict_entry *e)
{
    size_t at = e->place;
    for (; at > 1 && d->heap[at / 2]->until > e->until; at /= 2)
        heap_put(d, at, d->heap[at / 2]);
    for (size_t child; (child = 2 * at) <= d->heap_count; at = child) {
        if (child < d->heap_count && d->heap[child + 1]->until < d->heap[child]->until)
            child++;
        if (d->heap[child]->until >= e->until)
            break;
        heap_put(d, at, d->heap[child]);
    }
    heap_put(d, at, e);
}

static void heap_remove(struct dict *d, struct dict_entry *e)
{
    struct dict_entry *last = d->heap[d->heap_count--];
    if (last != e) {
        heap_put(d, e->place, last);
        heap_settle(d, last);
    }
    e->place = 0;
}

static void set_until(struct dict *d, struct dict_entry *e, uint64_t until)
{
    if (e->place != 0 && until == 0)
        heap_remove(d, e);
    e->until = until;
    if (until == 0)
        return;
    if (e->place == 0) {
        if (d->heap_count + 1 >= d->heap_cap) {
            d->heap_cap = d->heap_cap < 8 ? 16 : 2 * d->heap_cap;
            d->heap = mem_resize(d->heap, d->heap_cap * sizeof(d->heap[0]));
        }
        heap_put(d, ++d->heap_count, e);
    }
    heap_settle(d, e);
}

/* ---- entries ---- */

static bool has_bytes(const struct shared_value *v)
{
    return v->type == SHARED_TEXT || v->type == SHARED_TABLE;
}

static size_t cost_of(const struct shared_value *v, size_t key_size)
{
    return ENTRY_COST + key_size + (has_bytes(v) ? v->bytes.n : 0);
}

static void value_drop(struct shared_value *v)
{
    if (has_bytes(v))
        mem_free((void *)(uintptr_t)v->bytes.p);
}

static struct shared_value value_copy(struct shared_value v)
{
    if (has_bytes(&v))
        v.bytes.p = mem_copy(v.bytes.p, v.bytes.n);
    return v;
}

static void entry_free(struct dict *d, struct dict_entry *e)
{
    d->bytes -= cost_of(&e->value, e->key_size);
    if (e->place != 0)
        heap_remove(d, e);
    value_drop(&e->value);
    mem_free(e);
}

static void expire(struct dict *d)
{
    if (d->heap_count == 0)
        return;
    for (uint64_t now = clock_ns(); d->heap_count > 0 && d->heap[1]->until <= now;) {
        struct dict_entry *e = d->heap[1];
        map_remove(&d->entries, slice_of(e->key, e->key_size));
        entry_free(d, e);
    }
}

struct dict_entry *dict_find(struct dict *d, slice key)
{
    struct dict_entry *e = map_get(&d->entries, key);
    if (e == NULL || e->until == 0 || e->until > clock_ns())
        return e;
    expire(d);
    return NULL;
}

int dict_set(struct dict *d, slice key, struct shared_value value, uint64_t until)
{
    expire(d);
    struct dict_entry *e = map_get(&d->entries, key);
    size_t before = e == NULL ? 0 : cost_of(&e->value, key.n), after = cost_of(&value, key.n);
    if (after > before && d->bytes - before + after > d->bytes_max)
        return -ERR_TOO_LARGE;
    if (e == NULL) {
        e = mem_new(sizeof(*e) + key.n);
        e->key_size = key.n;
        memcpy(e->key, key.p, key.n);
        map_put(&d->entries, slice_of(e->key, key.n), e);
    } else {
        value_drop(&e->value);
    }
    e->value = value_copy(value);
    d->bytes = d->bytes - before + after;
    set_until(d, e, until);
    return 0;
}

bool dict_delete(struct dict *d, slice key)
{
    expire(d);
    struct dict_entry *e = map_remove(&d->entries, key);
    if (e != NULL)
        entry_free(d, e);
    return e != NULL;
}

const struct dict_entry *dict_next(struct dict *d, size_t *at)
{
    if (*at == 0)
        expire(d);
    return map_next(&d->entries, at);
}

struct dict_stats dict_stats(struct dict *d)
{
    expire(d);
    return (struct dict_stats){d->entries.count, d->bytes, d->bytes_max};
}

/* ---- all dictionaries ---- */

struct shared *shared_new(void)
{
    struct shared *s = MEM_NEW(struct shared);
    map_init(&s->dicts);
    return s;
}

static void dict_free(struct dict *d)
{
    size_t at = 0;
    for (struct dict_entry *e; (e = map_next(&d->entries, &at)) != NULL;)
        entry_free(d, e);
    map_fini(&d->entries);
    mem_free(d->heap);
    mem_free(d);
}

void shared_free(struct shared *s)
{
    size_t at = 0;
    for (struct dict *d; (d = map_next(&s->dicts, &at)) != NULL;)
        dict_free(d);
    map_fini(&s->dicts);
    mem_free(s);
}

struct dict *shared_dict(struct shared *s, slice name, size_t bytes_max)
{
    struct dict *d = map_get(&s->dicts, name);
    size_t others = s->bytes_max - (d == NULL ? 0 : d->bytes_max);
    if ((d == NULL && s->dicts.count == DICTS_MAX) || bytes_max > DICTS_SIZE_MAX - others)
        return NULL;
    if (d == NULL) {
        d = mem_new(sizeof(*d) + name.n);
        d->name_size = name.n;
        memcpy(d->name, name.p, name.n);
        map_init(&d->entries);
        map_put(&s->dicts, slice_of(d->name, name.n), d);
    }
    d->bytes_max = bytes_max;
    s->bytes_max = others + bytes_max;
    return d;
}
