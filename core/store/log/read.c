/* Reading batches into a buffer, and finding the offset of a time. */
#include <errno.h>
#include <unistd.h>

#include "base/err.h"
#include "store/log/journal_struct.h"
#include "store/log/segment_find.h"

enum { READ_CHUNK = 1 * MIB };

/* One journal_read on its way through the files. Bytes are read to the end of `out`, where whole batches are taken; the
 * beginning of a batch behind them, `have` bytes, stays for the next read. */
struct batch_read {
    struct buf *out;
    uint64_t next;         /* offset of the next batch */
    uint64_t to;
    size_t left;           /* bytes that may still be taken, after the first batch */
    size_t have;
    size_t need;           /* bytes of the next batch that must be read before it can be taken */
    bool some;             /* a batch was taken */
    bool done;
    bool broken;           /* it ended before a batch that is not valid */
};

/* Takes the whole batches at the front of n bytes, as far as they are wanted. The size of them; or -ERR_DAMAGED, when
 * the very first batch is not valid. */
static ssize_t take_batches(struct batch_read *r, const char *p, size_t n)
{
    size_t used = 0;
    struct batch_head head;
    for (r->need = BATCH_HEAD_SIZE; n - used >= BATCH_HEAD_SIZE && r->next < r->to; used += head.size) {
        bool bad = batch_head_read(p + used, &head) < 0 || batch_is_end(&head);
        if (!bad && r->some && head.size > r->left) {
            r->done = true;
            break;
        }
        r->need = bad ? 0 : head.size;
        if (head.size > n - used && !bad)
            break;
        if (bad || !batch_valid(p + used, &head, r->next)) {
            r->done = r->some;         /* what came before is an answer; the next read begins at the damage */
            r->broken = true;
            return r->some ? (ssize_t)used : -ERR_DAMAGED;
        }
        r->next += head.count;
        r->left -= head.size < r->left ? head.size : r->left;
        r->some = true;
        r->need = BATCH_HEAD_SIZE;
    }
    r->done = r->done || r->next >= r->to;
    return (ssize_t)used;
}

/* How many bytes to read at once from a position on: about as many as are wanted, by the size of an average message. */
static size_t chunk_size(const struct batch_read *r, const struct segment *seg, uint64_t position)
{
    uint64_t left = seg->written - position;
    uint64_t average = seg->written / (seg->next - seg->first) + 1;
    uint64_t count = (r->to < seg->next ? r->to : seg->next) - r->next + 1;
    uint64_t n = count < READ_CHUNK / average ? count * average : READ_CHUNK;
    if (n > r->left)
        n = r->left;
    if (n < r->need || n < r->have)
        n = r->need > r->have ? r->need : r->have;
    return (size_t)(n < left ? n : left);
}

/* Reads and takes batches of one file. */
static int read_segment(struct batch_read *r, struct segment *seg, struct place at)
{
    int rc = segment_use(seg);
    if (rc < 0)
        return rc;
    r->next = at.offset;
    r->have = 0;
    r->need = BATCH_HEAD_SIZE;
    while (!r->done && at.position < seg->written) {
        size_t n = chunk_size(r, seg, at.position);
        if (n < r->need)
            return -ERR_DAMAGED;       /* a batch that would end past what was written */
        r->out->end += r->have;
        buf_reserve(r->out, n - r->have);
        r->out->end -= r->have;
        char *p = r->out->data + r->out->end;
        ssize_t got = pread(seg->file.fd, p + r->have, n - r->have, (off_t)(at.position + r->have));
        if (got < 0)
            return -errno;
        if ((size_t)got < n - r->have)
            return -ERR_DAMAGED;
        ssize_t used = take_batches(r, p, n);
        if (used < 0)
            return (int)used;
        r->have = n - (size_t)used;
        r->out->end += (size_t)used;
        at.position += (uint64_t)used;
    }
    if (!r->done && r->next < seg->next) {
        r->done = true;                /* the end of the file is lost */
        return r->some ? 0 : -ERR_DAMAGED;
    }
    if (at.position < seg->written || !seg->ended)
        segment_hint(seg, (struct place){r->next, at.position});
    return 0;
}

int journal_read(struct journal *j, uint64_t from, uint64_t to, size_t bytes_max, struct buf *out, uint64_t *next)
{
    if (from < journal_first(j))
        return -ERR_GONE;
    struct batch_read r = {.out = out, .next = from, .left = bytes_max};
    r.to = to < j->marks.written ? to : j->marks.written;
    size_t before = buf_size(out);
    int rc = 0;
    for (uint64_t offset = from; rc == 0 && !r.done && offset < r.to; offset = r.next) {
        struct segment *seg = NULL;
        struct place at;
        rc = damage_refuses(&j->damage, offset) ? -ERR_DAMAGED : journal_segment_of(j, offset, &seg);
        if (rc == 0)
            rc = journal_find(j, seg, offset, &at);
        if (rc == 0)
            rc = read_segment(&r, seg, at);
        if (seg && (rc == -ERR_DAMAGED || r.broken))
            journal_scan(j, seg);      /* so that the damage is known, and can be repaired */
    }
    if (rc < 0 && !r.some) {
        out->end = out->at + before;
        return rc;
    }
    *next = r.some ? r.next : from;
    return 0;
}

/* -- by time ---------------------------------------------------------------------------------------------- */

static int segment_at_time(struct segment *seg, int64_t time_ms, uint64_t *offset)
{
    int rc = segment_want_index(seg);
    if (rc < 0)
        return rc;
    struct walk w = walk_begin(seg, segment_entry(seg, index_before_time(&seg->cached.index, time_ms)));
    struct batch_head head;
    while ((rc = walk_head(&w, &head)) > 0 && head.time_ms < time_ms)
        walk_skip(&w, &head);
    if (rc < 0)
        return rc;
    *offset = w.at.offset;
    return 0;
}

/* 1: the last batch of the i-th file is older; 0; or an error. */
static int part_is_older(struct journal *j, uint32_t i, int64_t time_ms)
{
    struct segment *seg;
    int rc = part_segment(j, &j->parts.at[i], &seg);
    return rc < 0 ? rc : seg->time_last < time_ms;
}

/* A file whose last batch is not older, while that of the file before is; parts.count when the last batch is older.
 * Files are looked at from the end, in growing steps: dates may fall from one file to the next. */
static int part_from(struct journal *j, int64_t time_ms, uint32_t from, uint32_t *index)
{
    uint32_t low = from, high = j->parts.count, step = 1;
    while (low < high) {
        bool galloping = step > 0;
        uint32_t at = !galloping ? (low + high) / 2 : high > low + step ? high - step : low;
        int older = part_is_older(j, at, time_ms);
        if (older < 0)
            return older;
        if (older)
            low = at + 1;
        else
            high = at;
        step = older ? 0 : step * 2;
    }
    *index = low;
    return 0;
}

/* The same; and where the next file begins with an older batch, the end of that one has a wrong date: goes on there. */
static int part_at_time(struct journal *j, int64_t time_ms, uint32_t *index)
{
    struct segment *seg;
    *index = j->parts.count;
    int rc = j->marks.time_ms < time_ms ? 0 : part_from(j, time_ms, 0, index);
    while (rc == 0 && *index + 1 < j->parts.count) {
        rc = part_segment(j, &j->parts.at[*index + 1], &seg);
        if (rc < 0 || seg->next == seg->first || seg->time_first >= time_ms)
            break;
        rc = part_from(j, time_ms, *index + 1, index);
    }
    return rc;
}

int journal_at_time(struct journal *j, int64_t time_ms, uint64_t *offset)
{
    struct segment *seg;
    uint32_t low;
    int rc = part_at_time(j, time_ms, &low);
    if (rc < 0)
        return rc;
    if (low == j->parts.count) {
        *offset = j->marks.tail;
        return 0;
    }
    rc = part_segment(j, &j->parts.at[low], &seg);
    if (rc == 0)
        rc = segment_at_time(seg, time_ms, offset);
    if (rc == -ERR_DAMAGED && journal_scan(j, seg) > 0)
        rc = segment_at_time(seg, time_ms, offset);
    return rc;
}
