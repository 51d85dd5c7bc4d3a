/*
 * Which indexes are in memory. An active file's is kept while it grows; a sealed file's is brought in for who looks
 * something up in it, and of these the ones used longest ago go when they are too many bytes together: what a node
 * has in memory must not grow with what it has stored, nor with what has been read of it.
 */
#include "base/err.h"
#include "store/log/inner.h"

static size_t index_bytes(const struct segment *seg)
{
    return seg->index.cap * sizeof *seg->index.entries;
}

void index_cache_forget(struct segment *seg)
{
    struct store *s = seg->journal->store;
    if (list_alone(&seg->indexed))
        return;
    list_remove(&seg->indexed);
    s->indexed_bytes -= index_bytes(seg);
}

void index_cache_drop(struct segment *seg)
{
    if (seg->scanned)
        return;                        /* made in spite of damage: the file's index may be what was wrong */
    index_cache_forget(seg);
    index_fini(&seg->index);
    seg->index_whole = seg->written < FILE_HEAD_SIZE + INDEX_EVERY;
}

static void index_cache_remember(struct segment *seg)
{
    struct store *s = seg->journal->store;
    index_cache_forget(seg);
    list_push(&s->indexed, &seg->indexed);
    s->indexed_bytes += index_bytes(seg);
    while (s->indexed_bytes > s->indexed_max && s->indexed.next != &seg->indexed)
        index_cache_drop(list_first(&s->indexed, struct segment, indexed));
}

/* Indexes what lies below `written`, by heads only. */
static int index_make(struct segment *seg)
{
    index_fini(&seg->index);
    struct walk w = walk_begin(seg, NULL);
    struct batch_head head;
    int rc;
    while ((rc = walk_head(&w, &head)) > 0) {
        index_note(&seg->index, (struct index_entry){head.first, w.position, head.time_ms});
        walk_skip(&w, &head);
    }
    return rc;
}

static int index_bring(struct segment *seg)
{
    struct path path = file_path(seg->journal, seg->first, FILE_INDEX);
    if (seg->renamed && index_load(&seg->index, path.s) == 0)
        return 0;
    int rc = index_make(seg);
    if (rc == 0 && seg->renamed)
        index_save(&seg->index, path.s);   /* only derived: may fail */
    return rc == -ERR_DAMAGED ? segment_scan(seg) : rc;
}

int index_cache_want(struct segment *seg)
{
    int rc = segment_use(seg);
    if (rc == 0 && !seg->index_whole)
        rc = index_bring(seg);
    if (rc < 0)
        return rc;
    seg->index_whole = true;
    if (seg->renamed && !seg->scanned)
        index_cache_remember(seg);
    return 0;
}
