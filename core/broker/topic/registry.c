#include "broker/topic/registry.h"

#include "base/mem.h"

#define NO_SLOT UINT32_MAX

struct registry_slot {
    struct topic *topic;             /* NULL: free */
    unsigned generation;
    unsigned next;                   /* of a free one: the next free one */
};

void registry_init(struct registry *r)
{
    *r = (struct registry){.free = NO_SLOT};
    map_init(&r->by_name);
    order_init(&r->order, order_by_name);
}

void registry_fini(struct registry *r)
{
    map_fini(&r->by_name);
    order_fini(&r->order);
    mem_free(r->slots);
}

/* ---- references ---- */

struct topic_ref topic_ref(const struct topic *t)
{
    return (struct topic_ref){t->index, t->generation};
}

struct topic *registry_deref(const struct registry *r, struct topic_ref ref)
{
    if (ref.index >= r->slot_count || r->slots[ref.index].generation != ref.generation)
        return NULL;
    return r->slots[ref.index].topic;
}

static void slot_take(struct registry *r, struct topic *t)
{
    if (r->free == NO_SLOT && r->slot_count == r->slot_cap) {
        r->slot_cap = r->slot_cap == 0 ? 16 : r->slot_cap + r->slot_cap / 2;
        r->slots = mem_resize(r->slots, r->slot_cap * sizeof(r->slots[0]));
    }
    if (r->free == NO_SLOT) {
        r->free = r->slot_count++;
        r->slots[r->free] = (struct registry_slot){.next = NO_SLOT};
    }
    struct registry_slot *s = &r->slots[r->free];
    t->index = r->free;
    t->generation = ++s->generation;
    r->free = s->next;
    s->topic = t;
}

static void slot_put(struct registry *r, struct topic *t)
{
    r->slots[t->index].topic = NULL;
    r->slots[t->index].next = r->free;
    r->free = t->index;
}

/* ---- all together ---- */

void registry_add(struct registry *r, struct topic *t)
{
    slot_take(r, t);
    order_add(&r->order, t);
    r->count++;
    r->changes++;
    map_put(&r->by_name, slice_from(t->name), t);
}

void registry_remove(struct registry *r, struct topic *t)
{
    order_remove(&r->order, t);
    slot_put(r, t);
    r->count--;
    r->changes++;
    map_remove(&r->by_name, slice_from(t->name));
}

struct topic *registry_at(struct registry *r, size_t i)
{
    return i < r->count ? order_at(&r->order, i) : NULL;
}

size_t registry_below(const struct registry *r, slice name, bool equal)
{
    return order_below(&r->order, &(struct order_key){.name = name}, equal);
}

struct topic *registry_next(const struct registry *r, struct order_cursor *c)
{
    return order_next(&r->order, c);
}
