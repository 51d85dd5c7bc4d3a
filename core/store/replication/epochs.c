#include "store/replication/epochs.h"

#include <errno.h>
#include <unistd.h>

#include "base/err.h"
#include "store/log/append.h"
#include "store/log/segment_find.h"
#include "store/log/write.h"

/* Reads and checks the whole batch at a place. 0; -ERR_DAMAGED; -errno. */
static int read_batch(struct segment *seg, struct place at, struct batch_head *head)
{
    struct walk w = walk_begin(seg, at);
    int rc = segment_use(seg);
    if (rc == 0)
        rc = walk_head(&w, head);
    if (rc <= 0)
        return rc < 0 ? rc : -ERR_DAMAGED;
    struct buf *scratch = &seg->dir->disk->scratch;
    buf_clear(scratch);
    char *p = buf_reserve(scratch, head->size);
    ssize_t got = pread(seg->file.fd, p, head->size, (off_t)at.position);
    if (got < 0)
        return -errno;
    return got == (ssize_t)head->size && batch_valid(p, head, at.offset) ? 0 : -ERR_DAMAGED;
}

int journal_batch_of(struct journal *j, uint64_t offset, struct batch_head *out)
{
    struct segment *seg;
    struct place at;
    struct batch_head head;
    journal_write(j);
    if (offset >= j->marks.tail)
        return -ERR_BAD_RANGE;
    if (offset < journal_first(j))
        return -ERR_GONE;
    int rc = journal_segment_of(j, offset, &seg);
    if (rc < 0)
        return rc;
    rc = journal_find(j, seg, offset, &at);
    if (rc == 0)
        rc = read_batch(seg, at, &head);
    if (rc == 0)
        *out = head;
    else if (rc == -ERR_DAMAGED)
        journal_scan(j, seg);          /* so that the damage is known, and can be repaired */
    return rc;
}

int journal_batch_before(struct journal *j, uint64_t end, struct batch_head *out)
{
    struct batch_head head;
    if (end == 0)
        return -ERR_BAD_RANGE;
    int rc = journal_batch_of(j, end - 1, &head);
    if (rc < 0)
        return rc;
    if (head.first + head.count != end)
        return -ERR_BAD_RANGE;
    *out = head;
    return 0;
}

/* -- where an epoch ends ---------------------------------------------------------------------------------- */

/* The first file whose last batch is of a later epoch; parts.count when there is none. */
static int part_after_epoch(struct journal *j, uint64_t epoch, uint32_t *index)
{
    const struct segment *active = j->parts.active;
    uint32_t low = 0, high = j->parts.count;
    if (active && active->next == active->first)
        high--;
    uint32_t count = high;
    while (low < high) {
        uint32_t mid = (low + high) / 2;
        struct segment *seg;
        int rc = part_segment(j, &j->parts.at[mid], &seg);
        if (rc < 0)
            return rc;
        if (seg->epoch <= epoch)
            low = mid + 1;
        else
            high = mid;
    }
    *index = low < count ? low : j->parts.count;
    return 0;
}

/* Where the last batch begins that is not of a later epoch, going by the index only; else where the file begins. */
static int entry_at_epoch(struct segment *seg, uint64_t epoch, struct place *at)
{
    const struct index *index = &seg->cached.index;
    size_t low = 0, high = index->count;
    while (low < high) {
        size_t mid = (low + high) / 2;
        struct walk w = walk_begin(seg, segment_entry(seg, &index->entries[mid]));
        struct batch_head head;
        int rc = walk_head(&w, &head);
        if (rc <= 0)
            return rc < 0 ? rc : -ERR_DAMAGED;
        if (head.epoch <= epoch)
            low = mid + 1;
        else
            high = mid;
    }
    *at = segment_entry(seg, low ? &index->entries[low - 1] : NULL);
    return 0;
}

/* In a file whose last batch is of a later epoch. *found and *end stay where all of its batches are. */
static int end_in_segment(struct segment *seg, uint64_t epoch, uint64_t *found, uint64_t *end)
{
    struct place from, last = {0};
    struct batch_head head;
    int rc = segment_want_index(seg);
    if (rc == 0)
        rc = entry_at_epoch(seg, epoch, &from);
    if (rc < 0)
        return rc;
    struct walk w = walk_begin(seg, from);
    for (; (rc = walk_head(&w, &head)) > 0 && head.epoch <= epoch; walk_skip(&w, &head))
        last = w.at;
    if (rc <= 0)
        return rc < 0 ? rc : -ERR_DAMAGED;
    uint64_t until = w.at.offset;
    rc = read_batch(seg, w.at, &head);
    if (rc == 0 && last.position && (rc = read_batch(seg, last, &head)) == 0) {
        *found = head.epoch;
        *end = until;
    }
    return rc;
}

/* *in: the file whose batches were read, if any. */
static int epoch_end(struct journal *j, uint64_t epoch, uint64_t *found, uint64_t *end, struct segment **in)
{
    uint64_t last = 0, until = journal_first(j);
    uint32_t index = j->parts.count;
    struct segment *seg;
    int rc = 0;
    if (epoch < j->marks.epoch) {
        journal_write(j);
        rc = part_after_epoch(j, epoch, &index);
        if (rc < 0)
            return rc;
    }
    if (index == j->parts.count) {     /* no batch is of a later epoch: it ends with the journal */
        bool any = j->marks.tail > until;
        *found = any ? j->marks.epoch : 0;
        *end = any ? j->marks.tail : until;
        return 0;
    }
    if (index > 0) {                   /* unless that file has batches of it, it ends with the one before */
        rc = part_segment(j, &j->parts.at[index - 1], &seg);
        if (rc < 0)
            return rc;
        last = seg->epoch;
        until = seg->next;
    }
    rc = part_segment(j, &j->parts.at[index], &seg);
    if (rc < 0)
        return rc;
    *in = seg;
    rc = end_in_segment(seg, epoch, &last, &until);
    if (rc < 0)
        return rc;
    *found = last;
    *end = until;
    return 0;
}

int journal_epoch_end(struct journal *j, uint64_t epoch, uint64_t *found, uint64_t *end)
{
    struct segment *in = NULL;
    int rc = epoch_end(j, epoch, found, end, &in);
    if (rc != -ERR_DAMAGED || in == NULL)
        return rc;
    journal_scan(j, in);               /* only the index may be wrong */
    rc = epoch_end(j, epoch, found, end, &in);
    if (rc == -ERR_DAMAGED)
        journal_note_damaged_file(j, in);
    return rc;
}
