/* The ranges of offsets of a journal that are known to be damaged. */
#include <inttypes.h>

#include "base/mem.h"
#include "base/say.h"
#include "store/log/inner.h"

/* An empty range says that something is wrong there that costs no offset we know of. */
bool damage_add(struct journal *j, uint64_t from, uint64_t to)
{
    for (uint32_t i = 0; i < j->damage_count; i++) {
        struct damaged_range *r = &j->damage[i];
        if (r->from <= from && to <= r->to)
            return false;
        if (r->from == r->to && r->from >= from && r->to <= to) {
            *r = (struct damaged_range){from, to};
            return true;
        }
    }
    j->damage = mem_resize(j->damage, (j->damage_count + 1) * sizeof *j->damage);
    j->damage[j->damage_count++] = (struct damaged_range){from, to};
    j->store->stats.damaged++;
    return true;
}

void damage_missing(struct journal *j, uint64_t from, uint64_t to)
{
    if (from < to && damage_add(j, from, to))
        say_error("store", "missing records topic=%s from=%" PRIu64 " to=%" PRIu64, j->name, from, to);
}

static void damage_set(struct journal *j, struct damaged_range *ranges, uint32_t count)
{
    j->store->stats.damaged += count - j->damage_count;
    mem_free(j->damage);
    j->damage = ranges;
    j->damage_count = count;
}

/* The part of r within [from, to) is kept. An empty range is kept when it lies there. */
static void range_keep(struct damaged_range r, uint64_t from, uint64_t to, struct damaged_range *out, uint32_t *count)
{
    if (r.from >= to || (r.to <= from && r.from < from))
        return;
    out[(*count)++] = (struct damaged_range){r.from > from ? r.from : from, r.to < to ? r.to : to};
}

void damage_keep(struct journal *j, uint64_t from, uint64_t to)
{
    struct damaged_range *kept = mem_new((j->damage_count + 1) * sizeof *kept);
    uint32_t count = 0;
    for (uint32_t i = 0; i < j->damage_count; i++)
        range_keep(j->damage[i], from, to, kept, &count);
    damage_set(j, kept, count);
}

void damage_drop(struct journal *j, uint64_t from, uint64_t to)
{
    struct damaged_range *kept = mem_new((2 * j->damage_count + 1) * sizeof *kept);
    uint32_t count = 0;
    for (uint32_t i = 0; i < j->damage_count; i++) {
        struct damaged_range r = j->damage[i];
        if (r.from >= from && r.to <= to)
            continue;
        range_keep(r, 0, from, kept, &count);
        if (r.to > to)
            range_keep(r, to, UINT64_MAX, kept, &count);
    }
    damage_set(j, kept, count);
}

void damage_scan(struct segment *seg)
{
    if (!seg->scanned)
        segment_scan(seg);
}

void damage_note_file(struct segment *seg)
{
    struct journal *j = seg->journal;
    for (uint32_t i = 0; i < j->damage_count; i++)
        if (j->damage[i].from >= seg->first && (j->damage[i].from < seg->next || j->damage[i].from == seg->first))
            return;
    if (damage_add(j, seg->first, seg->first))
        say_error("store", "damaged file topic=%s file=%020" PRIu64, j->name, seg->first);
}

bool journal_damage(const struct journal *j, uint32_t i, uint64_t *from, uint64_t *to)
{
    if (i >= j->damage_count)
        return false;
    *from = j->damage[i].from;
    *to = j->damage[i].to;
    return true;
}
