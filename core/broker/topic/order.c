#include "broker/topic/order.h"

#include "base/ensure.h"
#include "base/mem.h"

enum { ORDER_PAGE = 256 };

struct order_page {
    unsigned count;
    struct topic *at[ORDER_PAGE];
};

int order_by_name(const struct topic *t, const struct order_key *key)
{
    return slice_compare(slice_from(t->name), key->name);
}

int order_by_id(const struct topic *t, const struct order_key *key)
{
    if (t->id.epoch != key->id.epoch)
        return t->id.epoch < key->id.epoch ? -1 : 1;
    return (t->id.offset > key->id.offset) - (t->id.offset < key->id.offset);
}

void order_init(struct order *o, order_compare_fn *compare)
{
    *o = (struct order){.compare = compare};
}

void order_fini(struct order *o)
{
    for (size_t i = 0; i < o->page_count; i++)
        mem_free(o->pages[i]);
    mem_free(o->pages);
}

/* ---- finding a place ---- */

static bool is_below(const struct order *o, const struct topic *t, const struct order_key *key, bool equal)
{
    int order = o->compare(t, key);
    return order < 0 || (equal && order == 0);
}

/* The last page that begins below the key, or the first one. */
static size_t page_of(const struct order *o, const struct order_key *key, bool equal)
{
    size_t low = 0, high = o->page_count;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (is_below(o, o->pages[mid]->at[0], key, equal))
            low = mid + 1;
        else
            high = mid;
    }
    return low > 0 ? low - 1 : 0;
}

static unsigned place_in(const struct order *o, const struct order_page *p, const struct order_key *key, bool equal)
{
    unsigned low = 0, high = p->count;
    while (low < high) {
        unsigned mid = (low + high) / 2;
        if (is_below(o, p->at[mid], key, equal))
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

struct topic *order_find(const struct order *o, const struct order_key *key)
{
    if (o->page_count == 0)
        return NULL;
    const struct order_page *p = o->pages[page_of(o, key, true)];
    unsigned place = place_in(o, p, key, false);
    return place < p->count && o->compare(p->at[place], key) == 0 ? p->at[place] : NULL;
}

/* ---- pages ---- */

static struct order_page *page_insert(struct order *o, size_t at)
{
    if (o->page_count == o->page_cap) {
        o->page_cap = o->page_cap == 0 ? 4 : o->page_cap * 2;
        o->pages = mem_resize(o->pages, o->page_cap * sizeof(o->pages[0]));
    }
    memmove(&o->pages[at + 1], &o->pages[at], (o->page_count - at) * sizeof(o->pages[0]));
    o->page_count++;
    return o->pages[at] = MEM_NEW(struct order_page);
}

/* Makes room in a full page: topics that come in order fill page after page; otherwise the half goes to a new one. */
static void page_split(struct order *o, size_t at, unsigned place)
{
    struct order_page *right = page_insert(o, at + 1), *left = o->pages[at];
    unsigned keep = place == left->count ? left->count - 1 : left->count / 2;
    right->count = left->count - keep;
    memcpy(right->at, &left->at[keep], right->count * sizeof(right->at[0]));
    left->count = keep;
}

static void page_remove(struct order *o, size_t at)
{
    mem_free(o->pages[at]);
    o->page_count--;
    memmove(&o->pages[at], &o->pages[at + 1], (o->page_count - at) * sizeof(o->pages[0]));
}

void order_add(struct order *o, struct topic *t)
{
    struct order_key key = {slice_from(t->name), t->id};
    size_t at = page_of(o, &key, false);
    if (o->page_count == 0)
        page_insert(o, 0);
    unsigned place = place_in(o, o->pages[at], &key, false);
    if (o->pages[at]->count == ORDER_PAGE) {
        page_split(o, at, place);
        at += place > o->pages[at]->count;
        place = place_in(o, o->pages[at], &key, false);
    }
    struct order_page *p = o->pages[at];
    memmove(&p->at[place + 1], &p->at[place], (p->count - place) * sizeof(p->at[0]));
    p->at[place] = t;
    p->count++;
    o->near_page = o->near_first = 0;
}

void order_remove(struct order *o, const struct topic *t)
{
    struct order_key key = {slice_from(t->name), t->id};
    size_t at = page_of(o, &key, true);
    struct order_page *p = o->pages[at], *next = at + 1 < o->page_count ? o->pages[at + 1] : NULL;
    unsigned place = place_in(o, p, &key, false);
    ENSURE(place < p->count && p->at[place] == t);
    p->count--;
    memmove(&p->at[place], &p->at[place + 1], (p->count - place) * sizeof(p->at[0]));
    if (next != NULL && p->count + next->count <= ORDER_PAGE / 2) {
        memcpy(&p->at[p->count], next->at, next->count * sizeof(p->at[0]));
        p->count += next->count;
        page_remove(o, at + 1);
    }
    if (p->count == 0)
        page_remove(o, at);
    o->near_page = o->near_first = 0;
}

/* ---- visiting ---- */

struct topic *order_at(struct order *o, size_t i)
{
    while (i < o->near_first)
        o->near_first -= o->pages[--o->near_page]->count;
    while (o->near_page < o->page_count && i >= o->near_first + o->pages[o->near_page]->count)
        o->near_first += o->pages[o->near_page++]->count;
    if (o->near_page < o->page_count)
        return o->pages[o->near_page]->at[i - o->near_first];
    o->near_page = o->near_first = 0;
    return NULL;
}

size_t order_below(const struct order *o, const struct order_key *key, bool equal)
{
    if (o->page_count == 0)
        return 0;
    size_t at = page_of(o, key, equal), below = place_in(o, o->pages[at], key, equal);
    for (size_t i = 0; i < at; i++)
        below += o->pages[i]->count;
    return below;
}

struct topic *order_next(const struct order *o, struct order_cursor *c)
{
    if (c->page < o->page_count && c->at == o->pages[c->page]->count)
        *c = (struct order_cursor){c->page + 1, 0};
    return c->page < o->page_count ? o->pages[c->page]->at[c->at++] : NULL;
}
