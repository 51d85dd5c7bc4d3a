#include "broker/group/settled.h"

#include <string.h>

#include "base/least.h"
#include "base/mem.h"

enum { CAP_FIRST = 8 };

void settled_fini(struct settled *s)
{
    mem_free(s->at);
    *s = (struct settled){0};
}

void settled_reset(struct settled *s, uint64_t cursor)
{
    s->cursor = cursor;
    s->head = s->count = 0;
    s->above = 0;
}

/* The place of the first range that ends at `offset` or above, counted from the head. */
static size_t place_of(const struct settled *s, uint64_t offset)
{
    size_t low = 0;
    size_t high = s->count;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (s->at[s->head + mid].to < offset)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* Makes room for one range at a place. */
static void open_place(struct settled *s, size_t place)
{
    if (place == 0 && s->head > 0) {
        s->head--;
        s->count++;
        return;
    }
    if (s->head + s->count == s->cap) {
        if (s->head > s->cap / 2) {
            memmove(s->at, s->at + s->head, s->count * sizeof(s->at[0]));
            s->head = 0;
        } else {
            s->cap = s->cap == 0 ? CAP_FIRST : s->cap * 2;
            s->at = mem_resize(s->at, s->cap * sizeof(s->at[0]));
        }
    }
    struct range *at = s->at + s->head + place;
    memmove(at + 1, at, (s->count - place) * sizeof(*at));
    s->count++;
}

/* Removes the ranges of places [from, to). */
static void close_places(struct settled *s, size_t from, size_t to)
{
    if (from == 0) {
        s->head += to;
    } else {
        struct range *at = s->at + s->head;
        memmove(at + from, at + to, (s->count - to) * sizeof(*at));
    }
    s->count -= to - from;
    if (s->count == 0)
        s->head = 0;
}

void settled_add(struct settled *s, uint64_t from, uint64_t to)
{
    if (from < s->cursor)
        from = s->cursor;
    if (from >= to)
        return;
    size_t first = place_of(s, from), last = first;
    for (; last < s->count && s->at[s->head + last].from <= to; last++) {   /* merges what it touches */
        const struct range *r = &s->at[s->head + last];
        s->above -= r->to - r->from;
        from = least(from, r->from);
        to = r->to > to ? r->to : to;
    }
    if (from == s->cursor) {
        s->cursor = to;
        close_places(s, 0, last);
        return;
    }
    if (first == last)
        open_place(s, first);
    else
        close_places(s, first + 1, last);
    s->at[s->head + first] = (struct range){from, to};
    s->above += to - from;
}

bool settled_has(const struct settled *s, uint64_t offset)
{
    return settled_next(s, offset) != offset;
}

uint64_t settled_next(const struct settled *s, uint64_t offset)
{
    if (offset < s->cursor)
        offset = s->cursor;
    size_t place = place_of(s, offset + 1);
    if (place < s->count && s->at[s->head + place].from <= offset)
        return s->at[s->head + place].to;
    return offset;
}

void settled_cut(struct settled *s, uint64_t to)
{
    size_t place = place_of(s, to + 1);            /* the first that reaches above `to` */
    for (size_t i = place; i < s->count; i++)
        s->above -= s->at[s->head + i].to - s->at[s->head + i].from;
    bool part = place < s->count && s->at[s->head + place].from < to;
    if (part) {
        s->at[s->head + place].to = to;
        s->above += to - s->at[s->head + place].from;
    }
    s->count = place + part;
    s->cursor = least(s->cursor, to);
}
