/* Opening sealed files, and looking for damage in files that turn out to have some. */
#include <errno.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/say.h"
#include "store/format/scan.h"
#include "store/log/inner.h"

/* 0; -ERR_FORMAT: another cluster's or version's; -ERR_TOPIC_EXISTS: another topic's; -ERR_DAMAGED: bad checksum. */
int file_head_check(struct journal *j, const char *in, uint64_t first)
{
    struct file_head head;
    unsigned version;
    int rc = file_head_read((const unsigned char *)in, &head, &version);
    if (rc < 0)
        return rc;
    if (!id_eq(&head.cluster, &j->store->disk.state.cluster))
        return -ERR_FORMAT;
    if (head.topic.epoch != j->options.id.epoch || head.topic.offset != j->options.id.offset)
        return -ERR_TOPIC_EXISTS;
    return head.first == first ? 0 : -ERR_DAMAGED;
}

/* What the end record says. 0; -ERR_DAMAGED when there is none; -errno. */
static int load_end(struct segment *seg, uint64_t size)
{
    char end[END_RECORD_SIZE];
    if (size < FILE_HEAD_SIZE + END_RECORD_SIZE)
        return -ERR_DAMAGED;
    if (pread(seg->file.fd, end, sizeof end, (off_t)(size - sizeof end)) != sizeof end)
        return -EIO;
    struct batch_head head;
    if (batch_head_read(end, &head) < 0 || head.flags != BATCH_FLAG_END)
        return -ERR_DAMAGED;
    if (!batch_valid(end, &head, head.first) || head.first < seg->first)
        return -ERR_DAMAGED;
    seg->next = head.first;
    seg->epoch = head.epoch;
    seg->time_last = head.time_ms;
    seg->size = seg->written = size - sizeof end;
    return 0;
}

static int load_head(struct segment *seg)
{
    char start[FILE_HEAD_SIZE + BATCH_HEAD_SIZE];
    struct batch_head first;
    if (pread(seg->file.fd, start, sizeof start, 0) != sizeof start)
        return -ERR_DAMAGED;
    int rc = file_head_check(seg->journal, start, seg->first);
    if (rc == 0 && batch_head_read(start + FILE_HEAD_SIZE, &first) == 0)
        seg->time_first = first.time_ms;
    return rc;
}

static int load_bounds(struct segment *seg)
{
    struct stat st;
    if (fstat(seg->file.fd, &st) < 0)
        return -errno;
    int rc = load_head(seg);
    if (rc == 0)
        rc = load_end(seg, (uint64_t)st.st_size);
    if (rc != -ERR_DAMAGED)
        return rc;
    return segment_scan(seg);
}

int segment_load(struct journal *j, uint64_t first, struct segment **out)
{
    struct segment *seg = segment_new(j, first);
    seg->ended = seg->renamed = true;
    int rc = segment_use(seg);
    if (rc == 0)
        rc = load_bounds(seg);
    if (rc < 0) {
        segment_free(seg);
        return rc;
    }
    if (!seg->scanned)
        seg->index_whole = seg->written < FILE_HEAD_SIZE + INDEX_EVERY;
    *out = seg;
    return 0;
}

/* Takes the segment's bounds from a finished scan. */
static void scan_accept(struct segment *seg, const struct scan *s)
{
    seg->next = s->next;
    seg->epoch = s->epoch;
    seg->time_last = s->time_ms;
    seg->size = seg->written = s->position;
    seg->index_whole = true;
    seg->scanned = true;
    memset(seg->hints, 0, sizeof seg->hints);
}

/* Steps over bad bytes: the lost range is noted, and the index gets an entry behind it. 1, 0 at the last, or -errno. */
static int scan_over(struct segment *seg, struct reader *r, struct scan *s)
{
    uint64_t lost = s->next;
    bool broken = s->broken;
    int rc = scan_resync(r, s);
    if (rc < 0)
        return rc;
    uint64_t until = rc ? s->next : lost;
    if (rc && until > lost)
        index_put(&seg->index, (struct index_entry){s->next, s->position, s->time_ms});
    if (until == lost && broken)
        return rc;                     /* more of the damage that is known */
    if (damage_add(seg->journal, lost, until))
        say_error("store", "damaged records topic=%s file=%020" PRIu64 " from=%" PRIu64 " to=%" PRIu64 "%s",
                  seg->journal->name, seg->first, lost, until, rc ? "" : " (end record missing)");
    return rc;
}

static int scan_all(struct segment *seg, struct reader *r, struct scan *s)
{
    struct batch_head head;
    const char *bytes;
    for (;;) {
        uint64_t position = s->position;
        int found = scan_next(r, s, &head, &bytes);
        if (found < 0)
            return found;
        if (found == SCAN_BATCH)
            index_note(&seg->index, (struct index_entry){head.first, position, head.time_ms});
        else if (found == SCAN_SEALED || (found == SCAN_END && !seg->ended))
            return 0;
        else if ((found = scan_over(seg, r, s)) <= 0)
            return found;
    }
}

int segment_scan(struct segment *seg)
{
    int rc = segment_use(seg);
    if (rc < 0)
        return rc;
    struct reader r = {0};
    rc = reader_init(&r, seg->file.fd);
    if (rc < 0)
        return rc;
    if (!seg->ended)
        r.size = seg->written;
    index_cache_forget(seg);
    index_fini(&seg->index);
    struct scan s;
    rc = scan_begin(&r, seg->first, &s);
    if (rc == 0)
        rc = scan_all(seg, &r, &s);
    reader_fini(&r);
    if (rc == 0 && seg->ended)
        scan_accept(seg, &s);
    else if (rc == 0)
        seg->index_whole = seg->scanned = true;
    return rc;
}
