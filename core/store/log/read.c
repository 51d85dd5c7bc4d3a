/* Reading: by offset into a buffer, as a range of a file, and by time. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/err.h"
#include "store/log/inner.h"

enum { READ_CHUNK = 1 * MIB, RANGE_COPY_MAX = 64 * KIB };

/* One call's way through the segments. */
struct batch_read {
    uint64_t next;         /* offset of the batch that comes next */
    uint64_t to;
    size_t left;           /* bytes that may still be added after the first batch */
    size_t have;           /* bytes behind what is taken that were read with it: the begin of a batch */
    bool some;             /* there is a first batch */
    bool done;
    bool broken;           /* it ended before a batch that is not sound */
    struct buf *out;
};

/* Takes the whole batches at the front of n bytes that the reader wants. Their size, with the bytes needed to go on in
 * *need; or -ERR_DAMAGED. */
static ssize_t batch_read_take(struct batch_read *r, const char *p, size_t n, size_t *need)
{
    size_t used = 0;
    struct batch_head head;
    for (*need = BATCH_HEAD_SIZE; n - used >= BATCH_HEAD_SIZE && r->next < r->to; used += head.size) {
        bool bad = batch_head_read(p + used, &head) < 0 || (head.flags & BATCH_FLAG_END);
        if (!bad && r->some && head.size > r->left) {
            r->done = true;
            break;
        }
        *need = bad ? 0 : head.size;
        if (head.size > n - used && !bad)
            break;
        if (bad || !batch_valid(p + used, &head, r->next)) {
            r->done = r->some;         /* what came before is good; the next call meets the damage */
            r->broken = true;
            return r->some ? (ssize_t)used : -ERR_DAMAGED;
        }
        r->next += head.count;
        r->left -= head.size < r->left ? head.size : r->left;
        r->some = true;
        *need = BATCH_HEAD_SIZE;
    }
    r->done = r->done || r->next >= r->to;
    return (ssize_t)used;
}

/* How much to read at once: about what is wanted, going by the average message. */
static size_t batch_read_chunk(const struct batch_read *r, const struct segment *seg, uint64_t position, size_t need)
{
    uint64_t left = seg->written - position;
    uint64_t average = seg->written / (seg->next - seg->first) + 1;
    uint64_t count = (r->to < seg->next ? r->to : seg->next) - r->next + 1;
    uint64_t n = count < READ_CHUNK / average ? count * average : READ_CHUNK;
    if (n > r->left)
        n = r->left;
    if (n < need || n < r->have)
        n = need > r->have ? need : r->have;
    return (size_t)(n < left ? n : left);
}

/* Reads n bytes of what comes next, of which the first r->have were read before. Where they begin, or NULL: see *rc. */
static char *batch_read_fill(struct batch_read *r, int fd, size_t n, uint64_t position, int *rc)
{
    r->out->end += r->have;
    buf_reserve(r->out, n - r->have);
    r->out->end -= r->have;
    char *p = r->out->data + r->out->end;
    ssize_t got = pread(fd, p + r->have, n - r->have, (off_t)(position + r->have));
    *rc = got < 0 ? -errno : (size_t)got < n - r->have ? -ERR_DAMAGED : 0;
    return *rc < 0 ? NULL : p;
}

static int batch_read_step(struct batch_read *r, struct segment *seg, uint64_t *position, size_t *need)
{
    size_t n = batch_read_chunk(r, seg, *position, *need);
    if (n < *need)
        return -ERR_DAMAGED;           /* a batch that would end past what was written */
    int rc;
    char *p = batch_read_fill(r, seg->file.fd, n, *position, &rc);
    ssize_t used = p ? batch_read_take(r, p, n, need) : rc;
    if (used < 0)
        return (int)used;
    r->have = n - (size_t)used;
    r->out->end += (size_t)used;
    *position += (uint64_t)used;
    return 0;
}

/* Offsets are due, but no bytes are left for them: the file's end is lost. Good batches before it are an answer. */
static int batch_read_stuck(struct batch_read *r)
{
    r->done = true;
    return r->some ? 0 : -ERR_DAMAGED;
}

static int read_segment(struct batch_read *r, struct segment *seg, uint64_t offset)
{
    struct hint at;
    int rc = segment_find(seg, offset, &at);
    if (rc == 0)
        rc = segment_use(seg);
    if (rc < 0)
        return rc;
    r->next = at.offset;
    r->have = 0;
    size_t need = BATCH_HEAD_SIZE;
    while (rc == 0 && !r->done && at.position < seg->written)
        rc = batch_read_step(r, seg, &at.position, &need);
    if (rc < 0)
        return rc;
    if (!r->done && r->next < seg->next)
        return batch_read_stuck(r);
    if (at.position < seg->written || !seg->ended)
        segment_hint(seg, r->next, at.position);
    return 0;
}

/* The segment of the batch that holds `offset`. Past a file's end but below the next file's begin is a hole. */
int segment_of(struct journal *j, uint64_t offset, struct segment **out)
{
    struct part *part = part_of(j, offset);
    if (!part)
        return -ERR_GONE;
    int rc = part_segment(j, part, out);
    if (rc < 0 || offset < (*out)->next)
        return rc;
    damage_missing(j, (*out)->next, part_end(j, part));
    return -ERR_DAMAGED;
}

static int read_all(struct journal *j, struct batch_read *r)
{
    int rc = 0;
    for (uint64_t offset = r->next; rc == 0 && !r->done && offset < r->to; offset = r->next) {
        struct segment *seg;
        rc = segment_of(j, offset, &seg);
        if (rc == 0)
            rc = read_segment(r, seg, offset);
        if ((rc == -ERR_DAMAGED || r->broken) && seg && !seg->scanned)
            segment_scan(seg);         /* so that it is known, and can be mended */
    }
    return r->some ? 0 : rc;
}

int journal_read(struct journal *j, uint64_t from, uint64_t to, size_t bytes_max, struct buf *out, uint64_t *next)
{
    if (from < journal_first(j))
        return -ERR_GONE;
    struct batch_read r = {.next = from, .to = to < j->written ? to : j->written, .left = bytes_max, .out = out};
    size_t end = buf_size(out);
    int rc = read_all(j, &r);
    if (rc < 0) {
        out->end = out->at + end;
        return rc;
    }
    *next = r.some ? r.next : from;
    return 0;
}

/* A range as far as it is found: it ends before `end`, and the head of its last batch states `epoch`. */
struct span {
    struct hint begin, end;
    uint64_t to;                   /* the offset that it may not go beyond */
    uint64_t epoch;                /* 0: no head of it was looked at */
};

static void span_add(struct span *s, const struct batch_head *head)
{
    s->end.offset += head->count;
    s->end.position += head->size;
    s->epoch = head->epoch;
}

/* The last entry of the index at or below a position, or the range's begin where that is later. */
static struct hint span_entry(const struct segment *seg, const struct span *s, uint64_t position)
{
    const struct index_entry *e = index_at_position(&seg->index, position);
    if (e && e->offset >= s->to)
        e = index_at_offset(&seg->index, s->to - 1);
    return e && e->position > s->begin.position ? (struct hint){e->offset, e->position} : s->begin;
}

/* Adds the batches that lie below `limit` and `to`; the first one always. */
static int span_walk(struct segment *seg, struct span *s, uint64_t limit)
{
    struct index_entry here = {.offset = s->end.offset, .position = s->end.position};
    struct walk w = walk_begin(seg, &here);
    struct batch_head head;
    int rc = 0;
    while (w.offset < s->to && (rc = walk_head(&w, &head)) > 0) {
        if (w.position + head.size > limit && w.position > s->begin.position)
            break;
        walk_skip(&w, &head);
        span_add(s, &head);
    }
    return rc < 0 ? rc : 0;
}

/* Ends it at the last boundary that is within `size` bytes and below `to`; at least one batch on. */
static int span_extend(struct segment *seg, struct span *s, uint64_t size)
{
    uint64_t left = seg->written - s->begin.position;
    uint64_t limit = s->begin.position + (left < size ? left : size);
    s->end = span_entry(seg, s, limit);
    int rc = span_walk(seg, s, limit);
    if (rc < 0 || s->epoch > 0)
        return rc;
    s->end = span_entry(seg, s, s->end.position - 1);   /* it ends at an entry: its last batch lies before */
    return span_walk(seg, s, limit);
}

/* Ends *to where known damage begins. -ERR_DAMAGED when `from` lies in it. */
static int range_avoid_damage(const struct journal *j, uint64_t from, uint64_t *to)
{
    for (uint32_t i = 0; i < j->damage_count; i++) {
        const struct damaged_range *d = &j->damage[i];
        if (d->from <= from && from < d->to)
            return -ERR_DAMAGED;
        if (d->from > from && d->from < *to)
            *to = d->from;
    }
    return 0;
}

/* An index entry says where a batch should begin; whether one does only the file knows. */
static int range_check_begin(struct segment *seg, const struct hint *at)
{
    struct index_entry here = {.offset = at->offset, .position = at->position};
    struct walk w = walk_begin(seg, &here);
    struct batch_head head;
    int rc = walk_head(&w, &head);
    return rc > 0 ? 0 : rc < 0 ? rc : -ERR_DAMAGED;
}

/* How many of n bytes are whole batches of a span, which they are added to. Damage ends them; whoever goes on from
 * there meets it. */
static ssize_t span_whole(struct span *s, const char *p, size_t n)
{
    size_t used = 0;
    bool bad = false;
    struct batch_head head;
    while (n - used >= BATCH_HEAD_SIZE && s->end.offset < s->to) {
        bad = batch_head_read(p + used, &head) < 0 || head.first != s->end.offset || (head.flags & BATCH_FLAG_END);
        if (bad || head.size > n - used)
            break;
        used += head.size;
        span_add(s, &head);
    }
    return bad && used == 0 ? -ERR_DAMAGED : (ssize_t)used;
}

/* Takes what fits into `size` bytes with one read. Nothing where the first batch does not. */
static int range_copy(struct segment *seg, struct span *s, struct buf *out, size_t size)
{
    char *p = buf_reserve(out, size);
    ssize_t got = pread(seg->file.fd, p, size, (off_t)s->end.position);
    ssize_t used = got < 0 ? -errno : (size_t)got < size ? -ERR_DAMAGED : span_whole(s, p, size);
    if (used <= 0)
        buf_fini(out);
    else
        out->end = (size_t)used;
    return used < 0 ? (int)used : 0;
}

/* The descriptor is the range's own: the segment's may be closed at any time. */
static int range_refer(struct segment *seg, struct span *s, uint64_t size, int *fd)
{
    int rc = range_check_begin(seg, &s->begin);
    if (rc == 0)
        rc = index_cache_want(seg);
    if (rc == 0)
        rc = span_extend(seg, s, size);
    if (rc < 0)
        return rc;
    *fd = fcntl(seg->file.fd, F_DUPFD_CLOEXEC, 0);
    return *fd < 0 ? -errno : 0;
}

static int range_take(struct segment *seg, struct span s, uint64_t size, struct file_range *out)
{
    struct file_range range = {.fd = -1, .position = s.begin.position, .first = s.begin.offset};
    uint64_t left = seg->written - s.begin.position;
    uint64_t most = left < size ? left : size;
    int rc = 0;
    if (most <= RANGE_COPY_MAX)
        rc = range_copy(seg, &s, &range.bytes, (size_t)most);
    if (rc == 0 && s.end.position == s.begin.position)
        rc = range_refer(seg, &s, size, &range.fd);
    if (rc < 0)
        return rc;
    segment_hint(seg, s.end.offset, s.end.position);
    range.size = s.end.position - s.begin.position;
    range.next = s.end.offset;
    range.epoch = s.epoch == seg->epoch ? s.epoch : 0;
    *out = range;
    return 0;
}

static int segment_range(struct segment *seg, uint64_t from, uint64_t to, size_t bytes_max, struct file_range *out)
{
    struct span s = {.to = to};
    int rc = range_avoid_damage(seg->journal, from, &s.to);
    if (rc == 0)
        rc = segment_find(seg, from, &s.begin);
    if (rc == 0)
        rc = segment_use(seg);
    s.end = s.begin;
    return rc < 0 ? rc : range_take(seg, s, bytes_max, out);
}

/* What looks like damage may be only the index, which a scan makes anew; and what is damage has to be known, so that it
 * can be mended. Is it worth another try? */
static bool is_found_out(struct segment *seg, int rc)
{
    return rc == -ERR_DAMAGED && !seg->scanned && segment_scan(seg) == 0;
}

int journal_range(struct journal *j, uint64_t from, uint64_t to, size_t bytes_max, struct file_range *out)
{
    if (to > j->written)
        to = j->written;
    if (from >= to)
        return from < journal_first(j) ? -ERR_GONE : -ERR_BAD_RANGE;
    struct segment *seg;
    int rc = segment_of(j, from, &seg);
    if (rc < 0)
        return rc;
    rc = segment_range(seg, from, to, bytes_max, out);
    return is_found_out(seg, rc) ? segment_range(seg, from, to, bytes_max, out) : rc;
}

/* The first part whose last batch is not before time_ms, or NULL. The active one's time is known. */
static int part_at_time(struct journal *j, int64_t time_ms, struct part **out)
{
    uint32_t low = 0, high = j->parts_count;
    while (low < high) {
        uint32_t mid = (low + high) / 2;
        struct segment *seg;
        int rc = part_segment(j, &j->parts[mid], &seg);
        if (rc < 0)
            return rc;
        if (seg->time_last < time_ms)
            low = mid + 1;
        else
            high = mid;
    }
    *out = low < j->parts_count ? &j->parts[low] : NULL;
    return 0;
}

static int segment_at_time(struct segment *seg, int64_t time_ms, uint64_t *offset)
{
    int rc = index_cache_want(seg);
    if (rc < 0)
        return rc;
    struct walk w = walk_begin(seg, index_before_time(&seg->index, time_ms));
    struct batch_head head;
    while ((rc = walk_head(&w, &head)) > 0 && head.time_ms < time_ms)
        walk_skip(&w, &head);
    if (rc >= 0)
        *offset = w.offset;
    return rc < 0 ? rc : 0;
}

int journal_at_time(struct journal *j, int64_t time_ms, uint64_t *offset)
{
    if (j->time_ms < time_ms || !j->parts_count) {
        *offset = j->tail;
        return 0;
    }
    struct part *part;
    int rc = part_at_time(j, time_ms, &part);
    if (rc < 0)
        return rc;
    if (!part) {
        *offset = j->tail;
        return 0;
    }
    struct segment *seg;
    rc = part_segment(j, part, &seg);
    if (rc < 0)
        return rc;
    rc = segment_at_time(seg, time_ms, offset);
    return is_found_out(seg, rc) ? segment_at_time(seg, time_ms, offset) : rc;
}
