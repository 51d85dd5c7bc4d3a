#include "store/log/sealed_file.h"

#include <errno.h>
#include <unistd.h>

#include "base/err.h"

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
    if (got < (ssize_t)sizeof end || batch_head_read(end, &head) < 0 || !batch_is_end(&head)
        || !batch_valid(end, &head, seg->next))
        return -ERR_DAMAGED;
    *crc = end_record_file_crc(end);
    return 0;
}

int journal_file(struct journal *j, uint64_t offset, struct file_info *out)
{
    struct part *part = part_of(&j->parts, offset);
    if (!part || offset >= j->marks.tail)
        return part ? -ERR_BAD_RANGE : -ERR_GONE;
    bool active = part->segment && !part->segment->ended;
    struct file_info f = {.first = part->first, .size = active ? part->segment->size : part->size, .sealed = !active};
    int rc = active ? 0 : part_end_crc(j, part, &f.crc);
    if (rc < 0 && !is_file_damage(rc))
        return rc;
    f.has_crc = f.sealed && rc == 0;
    /* A file without a sound end has lost offsets itself, up to the next file. After a sound end, a file is missing. */
    f.next = f.has_crc || active ? part->segment->next : part_end(j, part);
    if (offset >= f.next)
        f = (struct file_info){.first = f.next, .next = part_end(j, part), .sealed = true};
    *out = f;
    return 0;
}

int journal_read_file(struct journal *j, uint64_t first, uint64_t position, size_t n, struct buf *out)
{
    struct segment *seg;
    struct part *part = part_sealed(&j->parts, first);
    if (!part)
        return -ERR_GONE;
    int rc = part_segment(j, part, &seg);
    if (rc < 0)
        return rc;
    uint64_t size = seg->size + END_RECORD_SIZE, left = position < size ? size - position : 0;
    if (n > left)
        n = (size_t)left;
    if (n == 0)
        return 0;
    ssize_t got = pread(seg->file.fd, buf_reserve(out, n), n, (off_t)position);
    if (got < 0)
        return -errno;
    out->end += (size_t)got;
    return 0;
}
