#include "broker/topic/registry.h"

#include "base/mem.h"

struct registry_slot {
    struct topic *topic;             /* NULL: free */
    unsigned generation;
};

void registry_init(struct registry *r)
{
    *r = (struct registry){0};
    map_init(&r->by_name);
}

void registry_fini(struct registry *r)
{
    map_fini(&r->by_name);
    mem_free(r->sorted);
    mem_free(r->slots);
}

struct topic_ref topic_ref(const struct topic *t)
{
    return (struct topic_ref){t->index, t->generation};
}

struct topic *registry_deref(const struct registry *r, struct topic_ref ref)
{
    if (ref.index >= r->cap || r->slots[ref.index].generation != ref.generation)
        return NULL;
    return r->slots[ref.index].topic;
}

static size_t place_of(const struct registry *r, const char *name)
{
    size_t low = 0;
    size_t high = r->count;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (strcmp(r->sorted[mid]->name, name) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static void registry_grow(struct registry *r)
{
    size_t cap = r->cap == 0 ? 16 : r->cap * 2;
    r->slots = mem_resize(r->slots, cap * sizeof(r->slots[0]));
    r->sorted = mem_resize(r->sorted, cap * sizeof(struct topic *));
    for (size_t i = r->cap; i < cap; i++)
        r->slots[i] = (struct registry_slot){0};
    r->cap = cap;
}

/* There are as many slots as places in `sorted`; a free one is near the count unless many topics were removed. */
static unsigned slot_take(const struct registry *r)
{
    size_t i = r->count;
    while (r->slots[i].topic != NULL)
        i = (i + 1) % r->cap;
    return (unsigned)i;
}

void registry_add(struct registry *r, struct topic *t)
{
    if (r->count == r->cap)
        registry_grow(r);
    t->index = slot_take(r);
    t->generation = ++r->slots[t->index].generation;
    r->slots[t->index].topic = t;
    size_t at = place_of(r, t->name);
    memmove(&r->sorted[at + 1], &r->sorted[at], (r->count - at) * sizeof(struct topic *));
    r->sorted[at] = t;
    r->count++;
    map_put(&r->by_name, slice_from(t->name), t);
}

void registry_remove(struct registry *r, struct topic *t)
{
    size_t at = place_of(r, t->name);
    memmove(&r->sorted[at], &r->sorted[at + 1], (r->count - at - 1) * sizeof(struct topic *));
    r->count--;
    r->slots[t->index].topic = NULL;
    map_remove(&r->by_name, slice_from(t->name));
}
