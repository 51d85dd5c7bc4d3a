/* Sealed files as wholes: what those ask who audit and repair them. */
#include <errno.h>
#include <unistd.h>

#include "base/err.h"
#include "store/log/inner.h"

struct part *part_sealed(struct journal *j, uint64_t first)
{
    struct part *part = part_of(j, first);
    if (!part || part->first != first || (part->segment && !part->segment->ended))
        return NULL;
    return part;
}

uint64_t part_end(const struct journal *j, const struct part *part)
{
    return part + 1 < j->parts + j->parts_count ? part[1].first : j->tail;
}

/* Behind a sound end a whole file is missing; otherwise the file has lost its own. */
static void file_describe(struct journal *j, const struct part *part, uint64_t offset, struct file_info *f)
{
    f->next = f->has_crc || !f->sealed ? part->segment->next : part_end(j, part);
    if (offset < f->next)
        return;
    *f = (struct file_info){.first = f->next, .next = part_end(j, part), .sealed = true};
}

bool file_unusable(int rc)
{
    return rc == -ERR_DAMAGED || rc == -ERR_FORMAT || rc == -ERR_TOPIC_EXISTS;
}

int journal_file(struct journal *j, uint64_t offset, struct file_info *out)
{
    struct part *part = part_of(j, offset);
    if (!part || offset >= j->tail)
        return part ? -ERR_BAD_RANGE : -ERR_GONE;
    bool active = part->segment && !part->segment->ended;
    struct file_info f = {.first = part->first, .size = active ? part->segment->size : part->size, .sealed = !active};
    int rc = active ? 0 : part_end_crc(j, part, &f.crc);
    if (rc < 0 && !file_unusable(rc))
        return rc;
    f.has_crc = f.sealed && rc == 0;
    file_describe(j, part, offset, &f);
    *out = f;
    return 0;
}

int journal_read_file(struct journal *j, uint64_t first, uint64_t position, size_t n, struct buf *out)
{
    struct segment *seg;
    struct part *part = part_sealed(j, first);
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
