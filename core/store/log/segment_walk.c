#include "store/log/segment_walk.h"

#include <errno.h>
#include <unistd.h>

#include "base/err.h"

enum { WINDOW_FIRST = 512, WINDOW_GROWTH = 4 };

struct place segment_start(const struct segment *seg)
{
    return (struct place){seg->first, FILE_HEAD_SIZE};
}

struct place segment_entry(const struct segment *seg, const struct index_entry *e)
{
    return e ? (struct place){e->offset, e->position} : segment_start(seg);
}

struct walk walk_begin(struct segment *seg, struct place from)
{
    return (struct walk){.seg = seg, .at = from, .window = WINDOW_FIRST};
}

/* The window grows while headers are so close together that one holds several. It stays small
 * where batches are large, because the bytes between headers are not needed. */
static int walk_fill(struct walk *w)
{
    struct buf *scratch = &w->seg->dir->disk->scratch;
    buf_clear(scratch);
    if (w->n > 0 && w->at.position - w->window_at < 2 * w->n && w->window < INDEX_EVERY)
        w->window *= WINDOW_GROWTH;
    char *p = buf_reserve(scratch, INDEX_EVERY);
    uint64_t left = w->seg->written - w->at.position;
    ssize_t got = pread(w->seg->file.fd, p, left < w->window ? left : w->window, (off_t)w->at.position);
    if (got < 0)
        return -errno;
    w->window_at = w->at.position;
    w->n = (size_t)got;
    return got < BATCH_HEAD_SIZE ? -ERR_DAMAGED : 0;
}

int walk_head(struct walk *w, struct batch_head *head)
{
    uint64_t position = w->at.position;
    if (position + BATCH_HEAD_SIZE > w->seg->written)
        return 0;
    if (position < w->window_at || position + BATCH_HEAD_SIZE > w->window_at + w->n) {
        int rc = walk_fill(w);
        if (rc < 0)
            return rc;
    }
    const char *p = w->seg->dir->disk->scratch.data + (position - w->window_at);
    if (batch_head_read(p, head) < 0 || head->first != w->at.offset || batch_is_end(head))
        return -ERR_DAMAGED;
    return 1;
}

void walk_skip(struct walk *w, const struct batch_head *head)
{
    w->at.position += head->size;
    w->at.offset += head->count;
}
