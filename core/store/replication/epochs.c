/*
 * Where epochs end, found in the batches themselves: there is no table that could disagree with them. Searching goes by
 * heads; the two batches that an answer rests on are read whole and checked, so that a damaged head cannot answer.
 */
#include <errno.h>
#include <unistd.h>

#include "base/err.h"
#include "store/log/inner.h"

/* Reads the whole batch at this place and checks it. 0; -ERR_DAMAGED; -errno. */
static int batch_read(struct segment *seg, struct hint at, struct batch_head *head)
{
    struct index_entry here = {.offset = at.offset, .position = at.position};
    struct walk w = walk_begin(seg, &here);
    int rc = segment_use(seg);
    if (rc == 0)
        rc = walk_head(&w, head);
    if (rc <= 0)
        return rc < 0 ? rc : -ERR_DAMAGED;
    struct buf *scratch = &seg->journal->store->disk.scratch;
    buf_clear(scratch);
    char *p = buf_reserve(scratch, head->size);
    ssize_t got = pread(seg->file.fd, p, head->size, (off_t)at.position);
    if (got < 0)
        return -errno;
    return got == (ssize_t)head->size && batch_valid(p, head, at.offset) ? 0 : -ERR_DAMAGED;
}

/* The batch that a message is in: its head, and its first offset. */
static int batch_find(struct journal *j, uint64_t offset, struct batch_head *head, uint64_t *first)
{
    struct segment *seg;
    struct hint at;
    journal_write(j);
    if (offset >= j->tail)
        return -ERR_BAD_RANGE;
    if (offset < journal_first(j))
        return -ERR_GONE;
    int rc = segment_of(j, offset, &seg);
    if (rc < 0)
        return rc;
    rc = segment_find(seg, offset, &at);
    if (rc == 0)
        rc = batch_read(seg, at, head);
    if (rc == -ERR_DAMAGED)
        damage_scan(seg);              /* so that it is known, and mended */
    *first = at.offset;
    return rc;
}

int journal_batch_of(struct journal *j, uint64_t offset, struct batch_head *out)
{
    uint64_t first;
    return batch_find(j, offset, out, &first);
}

int journal_batch_before(struct journal *j, uint64_t end, struct batch_head *out)
{
    struct batch_head head;
    uint64_t first;
    if (end == 0)
        return -ERR_BAD_RANGE;
    int rc = batch_find(j, end - 1, &head, &first);
    if (rc < 0)
        return rc;
    if (first + head.count != end)
        return -ERR_BAD_RANGE;
    *out = head;
    return 0;
}

/* The first file whose last batch is of a later epoch; parts_count when there is none. */
static int part_after_epoch(struct journal *j, uint64_t epoch, uint32_t *index)
{
    uint32_t low = 0, high = j->parts_count;
    if (j->active && j->active->next == j->active->first)
        high--;
    uint32_t count = high;
    while (low < high) {
        uint32_t mid = (low + high) / 2;
        struct segment *seg;
        int rc = part_segment(j, &j->parts[mid], &seg);
        if (rc < 0)
            return rc;
        if (seg->epoch <= epoch)
            low = mid + 1;
        else
            high = mid;
    }
    *index = low < count ? low : j->parts_count;
    return 0;
}

/* The last entry of the index whose batch is not of a later epoch; NULL: begin at the file's start. */
static int entry_at_epoch(struct segment *seg, uint64_t epoch, const struct index_entry **out)
{
    size_t low = 0, high = seg->index.count;
    while (low < high) {
        size_t mid = (low + high) / 2;
        struct walk w = walk_begin(seg, &seg->index.entries[mid]);
        struct batch_head head;
        int rc = walk_head(&w, &head);
        if (rc <= 0)
            return rc < 0 ? rc : -ERR_DAMAGED;
        if (head.epoch <= epoch)
            low = mid + 1;
        else
            high = mid;
    }
    *out = low ? &seg->index.entries[low - 1] : NULL;
    return 0;
}

/* In a file whose last batch is of a later epoch. *found stays when all its batches are. */
static int segment_epoch_end(struct segment *seg, uint64_t epoch, uint64_t *found, uint64_t *end)
{
    struct hint last = {0};
    const struct index_entry *entry = NULL;
    struct batch_head head;
    int rc = index_cache_want(seg);
    if (rc == 0)
        rc = entry_at_epoch(seg, epoch, &entry);
    if (rc < 0)
        return rc;
    struct walk w = walk_begin(seg, entry);
    for (; (rc = walk_head(&w, &head)) > 0 && head.epoch <= epoch; walk_skip(&w, &head))
        last = (struct hint){w.offset, w.position};
    if (rc <= 0)
        return rc < 0 ? rc : -ERR_DAMAGED;
    uint64_t until = w.offset;
    rc = batch_read(seg, (struct hint){w.offset, w.position}, &head);
    if (rc == 0 && last.position && (rc = batch_read(seg, last, &head)) == 0) {
        *found = head.epoch;
        *end = until;
    }
    return rc;
}

/* *in: the file whose batches were looked at, if any. */
static int epoch_end(struct journal *j, uint64_t epoch, uint64_t *found, uint64_t *end, struct segment **in)
{
    uint64_t last = 0, until = journal_first(j);
    uint32_t index = j->parts_count;
    struct segment *seg;
    int rc = 0;
    if (epoch < j->epoch) {            /* else it ends with the journal: most ask for the present one */
        journal_write(j);
        rc = part_after_epoch(j, epoch, &index);
    }
    bool all = rc == 0 && index == j->parts_count;
    if (rc == 0 && all && j->tail > until) {
        last = j->epoch;
        until = j->tail;
    } else if (rc == 0 && !all && index > 0) {
        rc = part_segment(j, &j->parts[index - 1], &seg);
        last = rc == 0 ? seg->epoch : 0;
        until = rc == 0 ? seg->next : 0;
    }
    if (rc == 0 && !all)
        rc = part_segment(j, &j->parts[index], &seg);
    if (rc == 0 && !all) {
        *in = seg;
        rc = segment_epoch_end(seg, epoch, &last, &until);
    }
    if (rc < 0)
        return rc;
    *found = last;
    *end = until;
    return 0;
}

/* It may be only the index that is wrong, which a scan makes anew. */
int journal_epoch_end(struct journal *j, uint64_t epoch, uint64_t *found, uint64_t *end)
{
    struct segment *in = NULL;
    int rc = epoch_end(j, epoch, found, end, &in);
    if (rc != -ERR_DAMAGED || in == NULL)
        return rc;
    damage_scan(in);
    rc = epoch_end(j, epoch, found, end, &in);
    if (rc == -ERR_DAMAGED)
        damage_note_file(in);
    return rc;
}
