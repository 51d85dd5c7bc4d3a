/*
 * The end of sealing, on the disk thread: a file that has its end record, synced by a round, is cut to its size
 * and renamed .log. Nothing depends on when that becomes durable (recovery completes it), except that the cut
 * must not come after the rename: hence the sync between them.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/say.h"
#include "store/disk/io.h"
#include "store/log/inner.h"

struct seal {
    struct job job;
    struct segment *segment;
    struct path from, to;
    uint64_t size;
    int rc;
    bool sync_failed;
};

static int seal_truncate(struct seal *s, int fd)
{
    if (io.truncate(fd, (off_t)s->size) < 0)
        return -errno;
    if (io.sync_all(fd) == 0)
        return 0;
    s->sync_failed = true;
    return -errno;
}

static void seal_run(struct job *job)
{
    struct seal *s = LIST_OWNER(job, struct seal, job);
    int fd = io.open(s->from.s, O_RDWR, 0);
    if (fd < 0) {
        s->rc = -errno;
        return;
    }
    s->rc = seal_truncate(s, fd);
    close(fd);
    if (s->rc == 0 && io.rename(s->from.s, s->to.s) < 0)
        s->rc = -errno;
}

static void seal_done(struct job *job)
{
    struct seal *s = LIST_OWNER(job, struct seal, job);
    struct segment *seg = s->segment;
    struct journal *j = seg->journal;
    if (s->sync_failed)
        disk_failed(&j->store->disk, "fsync", s->from.s, s->rc);
    if (s->rc < 0)
        say_error("store", "cannot seal %s: %s (the next start tries again)", s->from.s, strerror(-s->rc));
    seg->renamed = s->rc == 0;
    if (seg->renamed && seg->index_whole)
        index_save(&seg->index, file_path(j, seg->first, FILE_INDEX).s);   /* only derived: may fail */
    if (seg->renamed)
        index_cache_drop(seg);
    seg->pinned = false;
    j->jobs--;
    if (seg->file.fd < 0)
        segment_evicted(&seg->file);
    mem_free(s);
}

void seal_submit(struct segment *seg)
{
    struct journal *j = seg->journal;
    struct seal *s = MEM_NEW(struct seal);
    s->job.run = seal_run;
    s->job.done = seal_done;
    s->segment = seg;
    s->from = file_path(j, seg->first, FILE_ACTIVE);
    s->to = file_path(j, seg->first, FILE_SEALED);
    s->size = seg->size + END_RECORD_SIZE;
    j->jobs++;
    worker_submit(j->store->disk.worker, &s->job);
}
