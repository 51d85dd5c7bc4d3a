#include "broker/topic/registry.h"

#include "base/ensure.h"
#include "base/mem.h"

enum { REGISTRY_PAGE = 256 };

#define NO_SLOT UINT32_MAX

struct registry_page {
    unsigned count;
    struct topic *at[REGISTRY_PAGE];
};

struct registry_slot {
    struct topic *topic;             /* NULL: free */
    unsigned generation;
    unsigned next;                   /* of a free one: the next free one */
};

void registry_init(struct registry *r)
{
    *r = (struct registry){.free = NO_SLOT};
    map_init(&r->by_name);
}

void registry_fini(struct registry *r)
{
    map_fini(&r->by_name);
    for (size_t i = 0; i < r->page_count; i++)
        mem_free(r->pages[i]);
    mem_free(r->pages);
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

/* ---- order ---- */

static bool is_below(const struct topic *t, slice name, bool equal)
{
    int order = slice_compare(slice_from(t->name), name);
    return order < 0 || (equal && order == 0);
}

/* The last page that begins below the name, or the first one. */
static size_t page_of(const struct registry *r, slice name, bool equal)
{
    size_t low = 0, high = r->page_count;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (is_below(r->pages[mid]->at[0], name, equal))
            low = mid + 1;
        else
            high = mid;
    }
    return low > 0 ? low - 1 : 0;
}

static unsigned place_in(const struct registry_page *p, slice name, bool equal)
{
    unsigned low = 0, high = p->count;
    while (low < high) {
        unsigned mid = (low + high) / 2;
        if (is_below(p->at[mid], name, equal))
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static struct registry_page *page_insert(struct registry *r, size_t at)
{
    if (r->page_count == r->page_cap) {
        r->page_cap = r->page_cap == 0 ? 4 : r->page_cap * 2;
        r->pages = mem_resize(r->pages, r->page_cap * sizeof(r->pages[0]));
    }
    memmove(&r->pages[at + 1], &r->pages[at], (r->page_count - at) * sizeof(r->pages[0]));
    r->page_count++;
    return r->pages[at] = MEM_NEW(struct registry_page);
}

/* Makes room in a full page: names that come in order fill page after page; otherwise the half goes to a new one. */
static void page_split(struct registry *r, size_t at, unsigned place)
{
    struct registry_page *right = page_insert(r, at + 1), *left = r->pages[at];
    unsigned keep = place == left->count ? left->count - 1 : left->count / 2;
    right->count = left->count - keep;
    memcpy(right->at, &left->at[keep], right->count * sizeof(right->at[0]));
    left->count = keep;
}

static void order_add(struct registry *r, struct topic *t)
{
    slice name = slice_from(t->name);
    size_t at = page_of(r, name, false);
    if (r->page_count == 0)
        page_insert(r, 0);
    unsigned place = place_in(r->pages[at], name, false);
    if (r->pages[at]->count == REGISTRY_PAGE) {
        page_split(r, at, place);
        at += place > r->pages[at]->count;
        place = place_in(r->pages[at], name, false);
    }
    struct registry_page *p = r->pages[at];
    memmove(&p->at[place + 1], &p->at[place], (p->count - place) * sizeof(p->at[0]));
    p->at[place] = t;
    p->count++;
}

static void page_remove(struct registry *r, size_t at)
{
    mem_free(r->pages[at]);
    r->page_count--;
    memmove(&r->pages[at], &r->pages[at + 1], (r->page_count - at) * sizeof(r->pages[0]));
}

static void order_remove(struct registry *r, const struct topic *t)
{
    slice name = slice_from(t->name);
    size_t at = page_of(r, name, true);
    struct registry_page *p = r->pages[at], *next = at + 1 < r->page_count ? r->pages[at + 1] : NULL;
    unsigned place = place_in(p, name, false);
    ENSURE(place < p->count && p->at[place] == t);
    p->count--;
    memmove(&p->at[place], &p->at[place + 1], (p->count - place) * sizeof(p->at[0]));
    if (next != NULL && p->count + next->count <= REGISTRY_PAGE / 2) {
        memcpy(&p->at[p->count], next->at, next->count * sizeof(p->at[0]));
        p->count += next->count;
        page_remove(r, at + 1);
    }
    if (p->count == 0)
        page_remove(r, at);
}

/* ---- all together ---- */

void registry_add(struct registry *r, struct topic *t)
{
    slot_take(r, t);
    order_add(r, t);
    r->near_page = r->near_first = 0;
    r->count++;
    r->changes++;
    map_put(&r->by_name, slice_from(t->name), t);
}

void registry_remove(struct registry *r, struct topic *t)
{
    order_remove(r, t);
    slot_put(r, t);
    r->near_page = r->near_first = 0;
    r->count--;
    r->changes++;
    map_remove(&r->by_name, slice_from(t->name));
}

struct topic *registry_at(struct registry *r, size_t i)
{
    if (i >= r->count)
        return NULL;
    while (i < r->near_first)
        r->near_first -= r->pages[--r->near_page]->count;
    while (i >= r->near_first + r->pages[r->near_page]->count)
        r->near_first += r->pages[r->near_page++]->count;
    return r->pages[r->near_page]->at[i - r->near_first];
}

size_t registry_below(const struct registry *r, slice name, bool equal)
{
    if (r->page_count == 0)
        return 0;
    size_t at = page_of(r, name, equal), below = place_in(r->pages[at], name, equal);
    for (size_t i = 0; i < at; i++)
        below += r->pages[i]->count;
    return below;
}

struct topic *registry_next(const struct registry *r, struct registry_cursor *c)
{
    if (c->page < r->page_count && c->at == r->pages[c->page]->count)
        *c = (struct registry_cursor){c->page + 1, 0};
    return c->page < r->page_count ? r->pages[c->page]->at[c->at++] : NULL;
}
