#include "store/log/damage.h"

#include "base/mem.h"

void damage_fini(struct damage *d)
{
    if (d->total)
        *d->total -= d->count;
    mem_free(d->ranges);
    *d = (struct damage){.total = d->total};
}

bool damage_refuses(const struct damage *d, uint64_t offset)
{
    for (uint32_t i = 0; i < d->count; i++)
        if (d->ranges[i].refused && d->ranges[i].from <= offset && offset < d->ranges[i].to)
            return true;
    return false;
}

bool damage_add(struct damage *d, uint64_t from, uint64_t to)
{
    for (uint32_t i = 0; i < d->count; i++) {
        struct damaged_range *r = &d->ranges[i];
        if (r->from <= from && to <= r->to)
            return false;
        if (r->from == r->to && r->from >= from && r->to <= to) {
            *r = (struct damaged_range){from, to, false};
            return true;
        }
    }
    d->ranges = mem_resize(d->ranges, (d->count + 1) * sizeof *d->ranges);
    d->ranges[d->count++] = (struct damaged_range){from, to, false};
    if (d->total)
        *d->total += 1;
    return true;
}

static void replace(struct damage *d, struct damaged_range *ranges, uint32_t count)
{
    if (d->total)
        *d->total += count - d->count;
    mem_free(d->ranges);
    d->ranges = ranges;
    d->count = count;
}

/* Adds the part of r that lies within [from, to), or an empty r that lies there. */
static void add_part(struct damaged_range r, uint64_t from, uint64_t to, struct damaged_range *out, uint32_t *count)
{
    if (r.from >= to || (r.to <= from && r.from < from))
        return;
    out[(*count)++] = (struct damaged_range){r.from > from ? r.from : from, r.to < to ? r.to : to, r.refused};
}

void damage_keep(struct damage *d, uint64_t from, uint64_t to)
{
    struct damaged_range *kept = mem_new((d->count + 1) * sizeof *kept);
    uint32_t count = 0;
    for (uint32_t i = 0; i < d->count; i++)
        add_part(d->ranges[i], from, to, kept, &count);
    replace(d, kept, count);
}

void damage_drop(struct damage *d, uint64_t from, uint64_t to)
{
    struct damaged_range *kept = mem_new((2 * d->count + 1) * sizeof *kept);
    uint32_t count = 0;
    for (uint32_t i = 0; i < d->count; i++) {
        struct damaged_range r = d->ranges[i];
        if (r.from >= from && r.to <= to)
            continue;
        add_part(r, 0, from, kept, &count);
        if (r.to > to)
            add_part(r, to, UINT64_MAX, kept, &count);
    }
    replace(d, kept, count);
}

void damage_refuse(struct damage *d, uint64_t from, uint64_t to)
{
    damage_drop(d, from, to);
    damage_add(d, from, to);
    d->ranges[d->count - 1].refused = true;
}
