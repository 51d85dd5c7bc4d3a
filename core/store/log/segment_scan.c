#include "store/log/segment_scan.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "store/format/scan.h"

/* -- opening a sealed file -------------------------------------------------------------------------------- */

static int load_head(struct segment *seg)
{
    char start[FILE_HEAD_SIZE + BATCH_HEAD_SIZE];
    struct batch_head first;
    if (pread(seg->file.fd, start, sizeof start, 0) != sizeof start)
        return -ERR_DAMAGED;
    int rc = file_head_check(seg->dir, start, seg->first);
    if (rc == 0 && batch_head_read(start + FILE_HEAD_SIZE, &first) == 0)
        seg->time_first = first.time_ms;
    return rc;
}

static int load_end(struct segment *seg)
{
    struct stat st;
    char end[END_RECORD_SIZE];
    struct batch_head head;
    if (fstat(seg->file.fd, &st) < 0)
        return -errno;
    uint64_t size = (uint64_t)st.st_size;
    if (size < FILE_HEAD_SIZE + END_RECORD_SIZE)
        return -ERR_DAMAGED;
    if (pread(seg->file.fd, end, sizeof end, (off_t)(size - sizeof end)) != sizeof end)
        return -EIO;
    if (batch_head_read(end, &head) < 0 || !batch_is_end(&head) || !batch_valid(end, &head, head.first)
        || head.first < seg->first)
        return -ERR_DAMAGED;
    seg->next = head.first;
    seg->epoch = head.epoch;
    seg->time_last = head.time_ms;
    seg->origins = head.flags & BATCH_FLAG_ORIGINS;
    seg->size = seg->written = size - sizeof end;
    return 0;
}

int segment_load(struct topic_dir *dir, uint64_t first, struct damage *found, struct segment **out)
{
    struct segment *seg = segment_new(dir, first);
    seg->ended = seg->renamed = true;
    seg->cached.complete = false;
    int rc = segment_use(seg);
    if (rc == 0)
        rc = load_head(seg);
    if (rc == 0)
        rc = load_end(seg);
    if (rc == -ERR_DAMAGED)
        rc = segment_scan(seg, found);
    if (rc < 0) {
        segment_free(seg);
        return rc;
    }
    *out = seg;
    return 0;
}

/* -- scanning --------------------------------------------------------------------------------------------- */

/* After bytes that are no valid batch: goes to the next sound batch or end record, adds the range that is lost, and an
 * index entry behind it. 1; 0: nothing sound follows; -errno. */
static int skip_damage(struct segment *seg, struct reader *r, struct scan *s, struct damage *found)
{
    uint64_t lost = s->next;
    bool known = s->broken;
    int rc = scan_resync(r, s);
    if (rc < 0)
        return rc;
    seg->end_missing = rc == 0;
    uint64_t until = rc ? s->next : lost;
    if (until > lost)
        index_put(&seg->cached.index, (struct index_entry){s->next, s->position, s->time_ms});
    if (until > lost || !known)        /* else: more bytes of the damage before */
        damage_add(found, lost, until);
    return rc;
}

static int scan_batches(struct segment *seg, struct reader *r, struct scan *s, struct damage *found)
{
    struct batch_head head;
    const char *bytes;
    for (;;) {
        uint64_t position = s->position;
        int rc = scan_next(r, s, &head, &bytes);
        if (rc < 0)
            return rc;
        if (rc == SCAN_BATCH)
            index_note(&seg->cached.index, (struct index_entry){head.first, position, head.time_ms});
        else if (rc == SCAN_SEALED || (rc == SCAN_END && !seg->ended))
            return 0;
        else if ((rc = skip_damage(seg, r, s, found)) <= 0)
            return rc;
    }
}

int segment_scan(struct segment *seg, struct damage *found)
{
    struct reader r = {0};
    struct scan s;
    int rc = segment_use(seg);
    if (rc == 0)
        rc = reader_init(&r, seg->file.fd);
    if (rc < 0)
        return rc;
    if (!seg->ended)
        r.size = seg->written;
    index_cache_drop(seg->dir->indexes, &seg->cached);
    seg->end_missing = false;
    rc = scan_begin(&r, seg->first, &s);
    if (rc == 0)
        rc = scan_batches(seg, &r, &s, found);
    reader_fini(&r);
    if (rc < 0)
        return rc;
    seg->cached.complete = seg->scanned = true;
    if (seg->ended) {
        seg->next = s.next;
        seg->epoch = s.epoch;
        seg->time_last = s.time_ms;
        seg->origins = s.origins || s.broken;
        seg->size = seg->written = s.position;
        segment_forget_hints(seg);
    }
    return 0;
}
