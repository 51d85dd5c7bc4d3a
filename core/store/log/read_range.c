/* Reading a range of one file for sendfile: batch headers are checked, payloads are not looked at. Of a file in which
 * batches have origins, the batches are copied without these. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/err.h"
#include "store/log/journal_struct.h"
#include "store/log/segment_find.h"

enum { COPY_MAX = 64 * KIB };      /* a range up to this size is read; a larger one is referred to */

/* A range that is being found: [begin, end) in one file. */
struct span {
    struct place begin, end;
    uint64_t to;                   /* no batch from this offset on belongs to it */
    uint64_t epoch;                /* of its last batch; 0: no header of it was read */
};

static void span_add(struct span *s, const struct batch_head *head)
{
    s->end.offset += head->count;
    s->end.position += head->size;
    s->epoch = head->epoch;
}

/* The last index entry at or below a position and below s->to, or the begin of the range where that is later. */
static struct place last_entry(const struct segment *seg, const struct span *s, uint64_t position)
{
    const struct index_entry *e = index_at_position(&seg->cached.index, position);
    if (e && e->offset >= s->to)
        e = index_at_offset(&seg->cached.index, s->to - 1);
    return e && e->position > s->begin.position ? (struct place){e->offset, e->position} : s->begin;
}

/* Adds the batches below s->to that end at or below `limit`; in any case the first batch of the range. */
static int add_by_walk(struct segment *seg, struct span *s, uint64_t limit)
{
    struct walk w = walk_begin(seg, s->end);
    struct batch_head head;
    int rc = 0;
    while (w.at.offset < s->to && (rc = walk_head(&w, &head)) > 0) {
        if (w.at.position + head.size > limit && w.at.position > s->begin.position)
            break;
        walk_skip(&w, &head);
        span_add(s, &head);
    }
    return rc < 0 ? rc : 0;
}

/* Refers to at most `size` bytes of the file, but to one batch at least. The descriptor is the range's own, because the
 * segment's may be closed at any time. */
static int refer(struct segment *seg, struct span *s, uint64_t size, int *fd)
{
    uint64_t left = seg->written - s->begin.position;
    uint64_t limit = s->begin.position + (left < size ? left : size);
    struct batch_head head;
    struct walk w = walk_begin(seg, s->begin);
    int rc = walk_head(&w, &head);     /* the begin may be from an index entry: does a batch begin there? */
    if (rc <= 0)
        return rc < 0 ? rc : -ERR_DAMAGED;
    rc = segment_want_index(seg);
    if (rc < 0)
        return rc;
    s->end = last_entry(seg, s, limit);
    rc = add_by_walk(seg, s, limit);
    if (rc == 0 && s->epoch == 0) {
        /* It ends at an entry: read the header of its last batch from the entry before. */
        s->end = last_entry(seg, s, s->end.position - 1);
        rc = add_by_walk(seg, s, limit);
    }
    if (rc < 0)
        return rc;
    *fd = fcntl(seg->file.fd, F_DUPFD_CLOEXEC, 0);
    return *fd < 0 ? -errno : 0;
}

/* Reads `size` bytes and keeps the whole batches; none where the first one is larger. They end before damage, which
 * the next read from there finds. */
static int copy(struct segment *seg, struct span *s, struct buf *out, size_t size)
{
    char *p = buf_reserve(out, size);
    ssize_t got = pread(seg->file.fd, p, size, (off_t)s->end.position);
    int rc = got < 0 ? -errno : (size_t)got < size ? -ERR_DAMAGED : 0;
    size_t used = 0;
    bool bad = false;
    while (rc == 0 && size - used >= BATCH_HEAD_SIZE && s->end.offset < s->to) {
        struct batch_head head;
        bad = batch_head_read(p + used, &head) < 0 || head.first != s->end.offset || batch_is_end(&head);
        if (bad || head.size > size - used)
            break;
        used += head.size;
        span_add(s, &head);
    }
    if (bad && used == 0)
        rc = -ERR_DAMAGED;
    if (rc < 0 || used == 0)
        buf_fini(out);
    else
        out->end = used;
    return rc;
}

/* Copies the batches of *bytes without their origins, as far as they are valid: a new checksum must not hide damage. */
static int strip(struct span *s, struct buf *bytes)
{
    struct buf bare = {0};
    struct batch_head head;
    slice rest = buf_slice(bytes);
    s->end = s->begin;
    for (; rest.n > 0; rest = slice_skip(rest, head.size)) {
        batch_head_read(rest.p, &head);
        if (!batch_valid(rest.p, &head, s->end.offset))
            break;
        origin_strip(&bare, rest.p, &head);
        span_add(s, &head);
    }
    buf_fini(bytes);
    buf_move(bytes, &bare);
    return buf_size(bytes) > 0 ? 0 : -ERR_DAMAGED;
}

static int copy_stripped(struct segment *seg, struct span *s, size_t most, struct buf *out)
{
    struct batch_head first;
    int rc = copy(seg, s, out, most);
    if (rc == 0 && s->end.position == s->begin.position) {   /* the first batch is larger */
        struct walk w = walk_begin(seg, s->begin);
        rc = walk_head(&w, &first);
        rc = rc > 0 ? copy(seg, s, out, first.size) : rc < 0 ? rc : -ERR_DAMAGED;
    }
    if (rc == 0)
        rc = buf_size(out) > 0 ? strip(s, out) : -ERR_DAMAGED;
    return rc;
}

static int range_of_segment(struct journal *j, struct segment *seg, struct span s, size_t bytes_max,
                            struct file_range *out)
{
    uint64_t from = s.begin.offset;
    for (uint32_t i = 0; i < j->damage.count; i++) {
        const struct damaged_range *d = &j->damage.ranges[i];
        if (d->from <= from && from < d->to)
            return -ERR_DAMAGED;
        if (d->from > from && d->from < s.to)
            s.to = d->from;            /* it ends before known damage */
    }
    int rc = journal_find(j, seg, from, &s.begin);
    if (rc == 0)
        rc = segment_use(seg);
    if (rc < 0)
        return rc;

    s.end = s.begin;
    struct file_range range = {.fd = -1, .position = s.begin.position, .first = s.begin.offset};
    uint64_t left = seg->written - s.begin.position;
    uint64_t most = left < bytes_max ? left : bytes_max;
    if (seg->origins)
        rc = copy_stripped(seg, &s, (size_t)most, &range.bytes);
    else if (most <= COPY_MAX)
        rc = copy(seg, &s, &range.bytes, (size_t)most);
    if (rc == 0 && s.end.position == s.begin.position)
        rc = refer(seg, &s, bytes_max, &range.fd);
    if (rc < 0)
        return rc;
    segment_hint(seg, s.end);
    range.size = range.fd < 0 ? buf_size(&range.bytes) : s.end.position - s.begin.position;
    range.next = s.end.offset;
    range.epoch = s.epoch == seg->epoch ? s.epoch : 0;
    *out = range;
    return 0;
}

int journal_range(struct journal *j, uint64_t from, uint64_t to, size_t bytes_max, struct file_range *out)
{
    struct span s = {.begin.offset = from, .to = to < j->marks.written ? to : j->marks.written};
    if (from >= s.to)
        return from < journal_first(j) ? -ERR_GONE : -ERR_BAD_RANGE;
    struct segment *seg;
    int rc = journal_segment_of(j, from, &seg);
    if (rc < 0)
        return rc;
    rc = range_of_segment(j, seg, s, bytes_max, out);
    if (rc == -ERR_DAMAGED && journal_scan(j, seg) > 0)
        rc = range_of_segment(j, seg, s, bytes_max, out);
    return rc;
}
