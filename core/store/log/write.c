#include "store/log/write.h"

#include "store/disk/io.h"
#include "store/log/store_struct.h"

void journal_write_bytes(struct journal *j, slice bytes)
{
    struct segment *seg = j->parts.active;
    int rc = segment_use(seg);
    if (rc == 0)
        rc = io_write(seg->file.fd, bytes.p, bytes.n, seg->written);
    if (rc < 0)
        disk_failed(&j->store->disk, "write", segment_path(seg).s, rc);
    seg->file.dirty = true;
    seg->written = seg->size;
    j->marks.written = j->marks.tail;
    j->checkpoint.clean = false;
    j->store->stats.written_bytes += bytes.n;
}

void journal_write(struct journal *j)
{
    if (buf_size(&j->pending) == 0)
        return;
    journal_write_bytes(j, buf_slice(&j->pending));
    buf_clear(&j->pending);
}
