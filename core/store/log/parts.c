#include "store/log/parts.h"

#include "base/mem.h"

void parts_init(struct parts *p, struct disk *disk, struct index_cache *indexes, const char *name, struct topic_id id)
{
    *p = (struct parts){.dir = {.disk = disk, .indexes = indexes, .name = name, .id = id}};
}

void parts_fini(struct parts *p)
{
    parts_remove_all(p);
    mem_free(p->at);
}

struct part *parts_add(struct parts *p, uint64_t first, uint64_t size, struct segment *seg)
{
    if (p->count == p->cap) {
        p->cap = p->cap ? p->cap * 2 : 1;
        p->at = mem_resize(p->at, p->cap * sizeof *p->at);
    }
    struct part *part = &p->at[p->count++];
    *part = (struct part){first, size, seg};
    p->bytes_sealed += size;
    return part;
}

struct part *parts_insert(struct parts *p, uint64_t first)
{
    const struct part *before = part_of(p, first);
    uint32_t index = before ? (uint32_t)(before - p->at) + 1 : 0;
    parts_add(p, first, 0, NULL);
    memmove(&p->at[index + 1], &p->at[index], (p->count - 1 - index) * sizeof *p->at);
    p->at[index] = (struct part){.first = first};
    return &p->at[index];
}

void parts_remove(struct parts *p, uint32_t index)
{
    struct part *part = &p->at[index];
    if (part->segment && part->segment == p->active)
        p->active = NULL;
    if (part->segment)
        segment_free(part->segment);
    p->bytes_sealed -= part->size;
    p->count--;
    memmove(part, part + 1, (p->count - index) * sizeof *part);
}

void parts_remove_all(struct parts *p)
{
    while (p->count)
        parts_remove(p, p->count - 1);
}

void part_resize(struct parts *p, struct part *part, uint64_t size)
{
    p->bytes_sealed += size - part->size;
    part->size = size;
}

struct part *part_of(const struct parts *p, uint64_t offset)
{
    uint32_t low = 0, high = p->count;
    while (low < high) {
        uint32_t mid = (low + high) / 2;
        if (p->at[mid].first <= offset)
            low = mid + 1;
        else
            high = mid;
    }
    return low ? &p->at[low - 1] : NULL;
}

struct part *part_sealed(const struct parts *p, uint64_t first)
{
    struct part *part = part_of(p, first);
    if (!part || part->first != first || (part->segment && !part->segment->ended))
        return NULL;
    return part;
}

void segment_evicted(struct file *f)
{
    struct segment *seg = LIST_OWNER(f, struct segment, file);
    struct part *part = part_of(LIST_OWNER(seg->dir, struct parts, dir), seg->first);
    if (!seg->ended || seg->pinned || !part || part->segment != seg)
        return;                        /* still needed, or only just being opened */
    part->segment = NULL;
    segment_free(seg);
}
