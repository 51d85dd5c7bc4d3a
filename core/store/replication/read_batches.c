#include "base/err.h"
#include "store/log/sealed_file.h"
#include "store/replication/batches.h"

/* The checksum of the file before the one that begins with run->first. A follower is told none where files are not
 * joined, or the end record is damaged. */
static int read_file_crc(struct journal *j, struct batch_run *run)
{
    const struct part *part = part_of(&j->parts, run->first);
    if (part->first != run->first || part == j->parts.at)
        return 0;
    struct part *before = &j->parts.at[part - j->parts.at - 1];
    int rc = part_end_crc(j, before, &run->file_crc);
    run->has_file_crc = rc == 0 && before->segment->next == run->first;
    return rc == -ERR_DAMAGED ? 0 : rc;
}

int journal_read_batches(struct journal *j, uint64_t from, uint64_t to, size_t bytes_max, struct buf *out,
                         struct batch_run *run)
{
    struct batch_run r = {.first = from, .next = from};
    struct segment *seg;
    struct batch_head head = {0};
    size_t before = buf_size(out);
    if (from > j->marks.tail)
        return -ERR_BAD_RANGE;
    if (from < journal_first(j))
        return -ERR_GONE;
    if (to > j->marks.written)
        to = j->marks.written;
    if (from >= to) {
        *run = r;
        return 0;
    }
    int rc = journal_segment_of(j, from, &seg);
    if (rc < 0)
        return rc;
    r.file_first = seg->first;
    if (to > seg->next)
        to = seg->next;
    rc = journal_read(j, from, to, bytes_max < BATCH_RUN_SIZE_MAX ? bytes_max : BATCH_RUN_SIZE_MAX, out, &r.next);
    if (rc < 0)
        return rc;
    if (batch_head_read(out->data + out->at + before, &head) < 0 || head.first != from) {
        out->end = out->at + before;
        return -ERR_BAD_RANGE;
    }
    rc = read_file_crc(j, &r);
    if (rc == 0)
        *run = r;
    return rc;
}
