#include "store/log/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/ensure.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/say.h"
#include "store/disk/io.h"
#include "store/log/inner.h"

enum { SPACE_GRAIN = 4 * KIB };

struct segment *segment_new(struct journal *j, uint64_t first)
{
    struct segment *seg = MEM_NEW(struct segment);
    seg->journal = j;
    seg->first = seg->next = first;
    seg->size = seg->written = FILE_HEAD_SIZE;
    seg->index_whole = true;
    seg->last.offset = UINT64_MAX;
    file_init(&seg->file);
    list_init(&seg->sealing);
    list_init(&seg->indexed);
    index_init(&seg->index);
    return seg;
}

void segment_free(struct segment *seg)
{
    files_close(&seg->journal->store->disk.files, &seg->file);
    list_remove(&seg->sealing);
    index_cache_forget(seg);
    index_fini(&seg->index);
    mem_free(seg);
}

struct path segment_path(const struct segment *seg)
{
    return file_path(seg->journal, seg->first, seg->renamed ? FILE_SEALED : FILE_ACTIVE);
}

int segment_use(struct segment *seg)
{
    struct files *files = &seg->journal->store->disk.files;
    if (seg->file.fd >= 0) {
        files_touch(files, &seg->file);
        return 0;
    }
    int flags = seg->ended ? O_RDONLY : O_RDWR;
    int rc = files_open(files, &seg->file, segment_path(seg).s, flags);
    if (rc != -ENOENT || !seg->ended)
        return rc;
    seg->renamed = !seg->renamed;      /* the disk thread is renaming it just now */
    return files_open(files, &seg->file, segment_path(seg).s, flags);
}

static uint64_t round_up(uint64_t n)
{
    return (n + SPACE_GRAIN - 1) / SPACE_GRAIN * SPACE_GRAIN;
}

/* Doubles up to the largest step, but not past what a file of this journal can use. */
static uint64_t space_next(const struct segment *seg, uint64_t least)
{
    const struct journal_options *o = &seg->journal->options;
    uint64_t step = seg->space < SEGMENT_SPACE_STEP_MAX ? seg->space : SEGMENT_SPACE_STEP_MAX;
    uint64_t want = seg->space + (step ? step : SEGMENT_SPACE_FIRST);
    uint64_t useful = round_up(o->segment_bytes);
    if (want > useful)
        want = useful;
    return want > least ? want : least;
}

int segment_reserve(struct segment *seg, uint64_t need)
{
    uint64_t least = round_up(seg->size + need + END_RECORD_SIZE);
    if (least <= seg->space)
        return 0;
    int rc = segment_use(seg);
    if (rc < 0)
        return rc;
    uint64_t want = space_next(seg, least);
    rc = io.allocate(seg->file.fd, (off_t)seg->space, (off_t)(want - seg->space));
    if (rc == ENOSPC && want > least) {
        want = least;
        rc = io.allocate(seg->file.fd, (off_t)seg->space, (off_t)(want - seg->space));
    }
    if (rc == 0)
        seg->space = want;
    return -rc;
}

/* The spare when there is one, or a file made now. */
static int segment_make_file(struct segment *seg)
{
    struct files *files = &seg->journal->store->disk.files;
    struct path path = segment_path(seg);
    if (preallocate_take(seg->journal, path.s) < 0)
        return files_open(files, &seg->file, path.s, O_RDWR | O_CREAT | O_EXCL);
    int rc = files_open(files, &seg->file, path.s, O_RDWR);
    if (rc < 0)
        io.unlink(path.s);             /* or the name stays taken */
    struct stat st;
    if (rc == 0 && fstat(seg->file.fd, &st) == 0)
        seg->space = (uint64_t)st.st_size;
    return rc;
}

void segment_begin(struct segment *seg, uint64_t epoch)
{
    struct journal *j = seg->journal;
    struct file_head head = {
        .cluster = j->store->disk.state.cluster, .topic = j->options.id, .first = seg->first, .epoch = epoch,
    };
    ENSURE(buf_size(&j->pending) == 0);
    unsigned char *p = (unsigned char *)buf_reserve(&j->pending, FILE_HEAD_SIZE);
    file_head_write(p, &head);
    j->pending.end += FILE_HEAD_SIZE;
    seg->crc = crc32c(0, p, FILE_HEAD_SIZE);
    seg->written = 0;
    seg->epoch = epoch;
    seg->time_last = j->time_ms;
}

int segment_create(struct journal *j, uint64_t first, uint64_t need, struct segment **out)
{
    struct segment *seg = segment_new(j, first);
    int rc = segment_make_file(seg);
    if (rc == 0)
        rc = segment_reserve(seg, need);
    if (rc < 0) {
        if (seg->file.fd >= 0)
            io.unlink(segment_path(seg).s);
        segment_free(seg);
        return rc;
    }
    j->dir_dirty = true;
    *out = seg;
    return 0;
}

void segment_hint(struct segment *seg, uint64_t offset, uint64_t position)
{
    for (int i = 0; i < SEGMENT_HINTS; i++)
        if (seg->hints[i].offset == offset && seg->hints[i].position)
            return;
    seg->hints[seg->hint_at++ % SEGMENT_HINTS] = (struct hint){offset, position};
}

enum { WALK_WINDOW_FIRST = 512, WALK_WINDOW_GROWTH = 4 };

struct walk walk_begin(struct segment *seg, const struct index_entry *from)
{
    struct walk w = {.seg = seg, .offset = seg->first, .position = FILE_HEAD_SIZE, .window = WALK_WINDOW_FIRST};
    if (from) {
        w.offset = from->offset;
        w.position = from->position;
    }
    return w;
}

/* Where heads lie close together the window grows until it holds many; where batches are large it stays small, for
 * what lies between their heads would be copied in vain. */
static int walk_fill(struct walk *w)
{
    struct buf *window = &w->seg->journal->store->disk.scratch;
    buf_clear(window);
    if (w->n > 0 && w->position - w->at < 2 * w->n && w->window < INDEX_EVERY)
        w->window *= WALK_WINDOW_GROWTH;
    char *p = buf_reserve(window, INDEX_EVERY);
    uint64_t left = w->seg->written - w->position;
    ssize_t got = pread(w->seg->file.fd, p, left < w->window ? left : w->window, (off_t)w->position);
    if (got < 0)
        return -errno;
    w->at = w->position;
    w->n = (size_t)got;
    return got < BATCH_HEAD_SIZE ? -ERR_DAMAGED : 0;
}

int walk_head(struct walk *w, struct batch_head *head)
{
    if (w->position + BATCH_HEAD_SIZE > w->seg->written)
        return 0;
    if (w->position < w->at || w->position + BATCH_HEAD_SIZE > w->at + w->n) {
        int rc = walk_fill(w);
        if (rc < 0)
            return rc;
    }
    const char *p = w->seg->journal->store->disk.scratch.data + (w->position - w->at);
    if (batch_head_read(p, head) < 0 || head->first != w->offset || (head->flags & BATCH_FLAG_END))
        return -ERR_DAMAGED;
    return 1;
}

void walk_skip(struct walk *w, const struct batch_head *head)
{
    w->position += head->size;
    w->offset += head->count;
}

static bool segment_find_hint(const struct segment *seg, uint64_t offset, struct hint *at)
{
    for (int i = 0; i < SEGMENT_HINTS; i++)
        if (seg->hints[i].offset == offset && seg->hints[i].position) {
            *at = seg->hints[i];
            return true;
        }
    if (offset >= seg->last.offset) {
        *at = seg->last;
        return true;
    }
    return false;
}

static int segment_find_walking(struct segment *seg, uint64_t offset, struct hint *at)
{
    struct walk w = walk_begin(seg, index_at_offset(&seg->index, offset));
    struct batch_head head;
    int rc;
    while ((rc = walk_head(&w, &head)) > 0 && offset >= w.offset + head.count)
        walk_skip(&w, &head);
    if (rc < 0)
        return rc;
    *at = (struct hint){w.offset, w.position};
    return rc > 0 && offset >= w.offset ? 0 : -ERR_DAMAGED;
}

int segment_find(struct segment *seg, uint64_t offset, struct hint *at)
{
    if (segment_find_hint(seg, offset, at))
        return 0;
    int rc = index_cache_want(seg);
    if (rc == 0)
        rc = segment_find_walking(seg, offset, at);
    if (rc != -ERR_DAMAGED || seg->scanned)
        return rc;
    rc = segment_scan(seg);            /* bad index, or bad file? */
    return rc < 0 ? rc : segment_find_walking(seg, offset, at);
}
