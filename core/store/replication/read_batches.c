/*
 * What a leader sends and what a follower takes: the same bytes, in files that end at the same places.
 *
 * A follower makes file headers and end records itself. It can, because they follow from the batches: a file bears the
 * epoch of its first batch, an end record repeats its last one, and neither has a disk mark or anything of the node.
 */
#include <errno.h>
#include <unistd.h>

#include "base/err.h"
#include "store/log/inner.h"

int part_end_crc(struct journal *j, struct part *part, uint32_t *crc)
{
    struct segment *seg;
    char end[END_RECORD_SIZE];
    struct batch_head head;
    int rc = part_segment(j, part, &seg);
    if (rc < 0)
        return rc;
    ssize_t got = pread(seg->file.fd, end, sizeof end, (off_t)seg->size);
    if (got < 0)
        return -errno;
    if (got < (ssize_t)sizeof end || batch_head_read(end, &head) < 0 || head.flags != BATCH_FLAG_END)
        return -ERR_DAMAGED;
    if (!batch_valid(end, &head, seg->next))
        return -ERR_DAMAGED;
    *crc = end_record_file_crc(end);
    return 0;
}

/* -- the leader ------------------------------------------------------------------------------------------- */

/* What the file before this one ends with. A hole between them, or a damaged end: the follower is told nothing. */
static int previous_file_crc(struct journal *j, struct batch_run *s)
{
    const struct part *part = part_of(j, s->first);
    struct part *before = part > j->parts ? &j->parts[part - j->parts - 1] : NULL;
    s->has_file_crc = false;
    if (part->first != s->first || !before)
        return 0;
    int rc = part_end_crc(j, before, &s->file_crc);
    s->has_file_crc = rc == 0 && before->segment->next == s->first;
    return rc == -ERR_DAMAGED ? 0 : rc;
}

static int read_from_file(struct journal *j, uint64_t to, size_t bytes_max, struct buf *out,
                         struct batch_run *s)
{
    struct segment *seg;
    struct batch_head head = {0};
    size_t begin = buf_size(out);
    int rc = segment_of(j, s->first, &seg);
    if (rc < 0)
        return rc;
    s->file_first = seg->first;
    rc = journal_read(j, s->first, to < seg->next ? to : seg->next, bytes_max, out, &s->next);
    if (rc < 0)
        return rc;
    if (batch_head_read(out->data + out->at + begin, &head) == 0 && head.first == s->first)
        return previous_file_crc(j, s);
    out->end = out->at + begin;
    return -ERR_BAD_RANGE;
}

int journal_read_batches(struct journal *j, uint64_t from, uint64_t to, size_t bytes_max, struct buf *out,
                         struct batch_run *s)
{
    struct batch_run made = {.first = from, .next = from};
    if (from > j->tail)
        return -ERR_BAD_RANGE;
    if (from < journal_first(j))
        return -ERR_GONE;
    if (to > j->written)
        to = j->written;
    if (bytes_max > BATCH_RUN_SIZE_MAX)
        bytes_max = BATCH_RUN_SIZE_MAX;
    int rc = from < to ? read_from_file(j, to, bytes_max, out, &made) : 0;
    if (rc == 0)
        *s = made;
    return rc;
}

/* -- the follower ----------------------------------------------------------------------------------------- */

static bool messages_sound(const char *p, const struct batch_head *head)
{
    slice rest = slice_of(p + BATCH_HEAD_SIZE, head->size - BATCH_HEAD_SIZE);
    struct message m;
    uint32_t n = 0;
    while (n < head->count && message_read(&rest, &m) == 0)
        n++;
    return n == head->count && rest.n == 0;
}

static bool batch_sound(slice bytes, uint64_t next, struct batch_head *head)
{
    return bytes.n >= BATCH_HEAD_SIZE && batch_head_read(bytes.p, head) == 0 && !(head->flags & BATCH_FLAG_END)
        && head->size <= bytes.n && batch_valid(bytes.p, head, next) && next + head->count > next
        && messages_sound(bytes.p, head);
}

/* Do these bytes continue the journal as the shipment says? *epoch: of the first batch. */
static int receive_check(const struct journal *j, const struct batch_run *s, slice bytes, uint64_t *epoch)
{
    struct batch_head head, before = {.epoch = j->epoch, .time_ms = j->time_ms};
    uint64_t next = j->tail;
    if (bytes.n > BATCH_RUN_SIZE_MAX)
        return -ERR_TOO_LARGE;
    if (s->first != next || s->file_first > s->first || bytes.n == 0)
        return -ERR_DAMAGED;
    for (; bytes.n > 0; bytes = slice_skip(bytes, head.size)) {
        if (!batch_sound(bytes, next, &head) || head.epoch < before.epoch || head.time_ms < before.time_ms)
            return -ERR_DAMAGED;
        if (next == s->first)
            *epoch = head.epoch;
        next += head.count;
        before = head;
    }
    return next == s->next ? 0 : -ERR_DAMAGED;
}

/* Is the file that ends at the tail the one that the leader has there? One of ours that is damaged at its end cannot
 * tell; that is known, and repaired in another way. */
static int receive_check_file(struct journal *j, const struct batch_run *s)
{
    uint32_t crc = 0;
    struct part *before = j->tail ? part_of(j, j->tail - 1) : NULL;
    if (!s->has_file_crc || !before)
        return 0;
    if (s->first != s->file_first)
        return -ERR_DAMAGED;
    int rc = 0;
    if (before->segment && before->segment == j->active)
        crc = j->active->crc;
    else
        rc = part_end_crc(j, before, &crc);
    if (rc < 0)
        return rc == -ERR_DAMAGED ? 0 : rc;
    return crc == s->file_crc ? 0 : -ERR_DIVERGED;
}

/* Do the leader's batches from the tail on stand in a file that we sealed, or closed by beginning another? Then it is
 * opened again. */
static int receive_reopen(struct journal *j, uint64_t file_first)
{
    bool empty = j->active && j->active->next == j->active->first;
    if ((j->active && !empty) || j->parts_count < 1u + empty)
        return -ERR_DIVERGED;
    if (j->parts[j->parts_count - 1 - empty].first != file_first)
        return -ERR_DIVERGED;
    int rc = journal_reopen(j);
    return rc == -ERR_DAMAGED ? -ERR_DIVERGED : rc;
}

static int receive_place(struct journal *j, const struct batch_run *s, uint64_t epoch, size_t size)
{
    bool goes_on = j->active && j->active->first == s->file_first;
    int rc = receive_check_file(j, s);
    if (rc == 0 && !goes_on && s->first != s->file_first)
        rc = receive_reopen(j, s->file_first);
    if (rc < 0)
        return rc;
    if (s->first != s->file_first && j->active->size + size + END_RECORD_SIZE > SEGMENT_BYTES_MAX)
        return -ERR_TOO_LARGE;
    return journal_make_room(j, epoch, size, !goes_on && s->first == s->file_first);
}

int journal_receive(struct journal *j, const struct batch_run *s, slice batches)
{
    uint64_t epoch = 0;
    int rc = receive_check(j, s, batches, &epoch);
    if (rc == 0)
        rc = receive_place(j, s, epoch, batches.n);
    if (rc == 0)
        journal_take(j, batches);
    return rc;
}
