#include "store/log/segment_find.h"

#include "base/err.h"
#include "base/mem.h"

static int make_index(struct segment *seg)
{
    struct index *index = &seg->cached.index;
    index_fini(index);
    struct walk w = walk_begin(seg, segment_start(seg));
    struct batch_head head;
    int rc;
    while ((rc = walk_head(&w, &head)) > 0) {
        index_note(index, (struct index_entry){head.first, w.at.position, head.time_ms});
        walk_skip(&w, &head);
    }
    return rc;
}

int segment_want_index(struct segment *seg)
{
    struct cached_index *cached = &seg->cached;
    int rc = segment_use(seg);
    if (rc < 0)
        return rc;
    /* A file shorter than INDEX_EVERY has an index without entries. */
    if (!cached->complete && seg->written >= FILE_HEAD_SIZE + INDEX_EVERY) {
        struct path path = file_path(seg->dir, seg->first, FILE_INDEX);
        if (!seg->renamed || index_load(&cached->index, path.s) < 0) {
            rc = make_index(seg);
            if (rc < 0)
                return rc;
            if (seg->renamed)
                index_save(&cached->index, path.s);    /* may fail: it can be made again */
        }
    }
    cached->complete = true;
    if (seg->renamed && !seg->scanned)
        index_cache_use(seg->dir->indexes, cached);
    return 0;
}

int segment_find(struct segment *seg, uint64_t offset, struct place *at)
{
    for (int i = 0; i < SEGMENT_HINTS; i++)
        if (seg->hints && seg->hints[i].offset == offset && seg->hints[i].position) {
            *at = seg->hints[i];
            return 0;
        }
    if (offset >= seg->last.offset) {
        *at = seg->last;
        return 0;
    }
    int rc = segment_want_index(seg);
    if (rc < 0)
        return rc;
    struct walk w = walk_begin(seg, segment_entry(seg, index_at_offset(&seg->cached.index, offset)));
    struct batch_head head;
    while ((rc = walk_head(&w, &head)) > 0 && offset >= w.at.offset + head.count)
        walk_skip(&w, &head);
    if (rc < 0)
        return rc;
    *at = w.at;
    return rc > 0 && offset >= w.at.offset ? 0 : -ERR_DAMAGED;
}

void segment_hint(struct segment *seg, struct place at)
{
    for (int i = 0; i < SEGMENT_HINTS; i++)
        if (seg->hints && seg->hints[i].offset == at.offset && seg->hints[i].position)
            return;
    if (!seg->hints)
        seg->hints = mem_new(SEGMENT_HINTS * sizeof *seg->hints);
    seg->hints[seg->hint_at++ % SEGMENT_HINTS] = at;
}
