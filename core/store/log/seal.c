#include "store/log/seal.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/say.h"
#include "store/disk/io.h"

struct seal {
    struct job job;
    struct segment *segment;     /* outlives us: it is pinned */
    struct path from, to;
    uint64_t size;
    int rc;
    bool sync_failed;
};

static void seal_run(struct job *job)
{
    struct seal *s = LIST_OWNER(job, struct seal, job);
    int fd = io.open(s->from.s, O_RDWR, 0);
    if (fd < 0) {
        s->rc = -errno;
        return;
    }
    if (io.truncate(fd, (off_t)s->size) < 0) {
        s->rc = -errno;
    } else if (io.sync_all(fd) < 0) {
        s->rc = -errno;
        s->sync_failed = true;
    }
    close(fd);
    if (s->rc == 0 && io.rename(s->from.s, s->to.s) < 0)
        s->rc = -errno;
}

static void seal_done(struct job *job)
{
    struct seal *s = LIST_OWNER(job, struct seal, job);
    struct segment *seg = s->segment;
    struct topic_dir *dir = seg->dir;
    if (s->sync_failed)
        disk_failed(dir->disk, "fsync", s->from.s, s->rc);
    if (s->rc < 0)
        say_error("store", "cannot seal %s: %s (the next start tries again)", s->from.s, strerror(-s->rc));
    seg->renamed = s->rc == 0;
    if (seg->renamed && seg->cached.complete)
        index_save(&seg->cached.index, file_path(dir, seg->first, FILE_INDEX).s);   /* may fail: it can be made again */
    if (seg->renamed && !seg->scanned)
        index_cache_drop(dir->indexes, &seg->cached);
    seg->pinned = false;
    dir->jobs--;
    mem_free(s);
    if (seg->file.fd < 0)
        dir->disk->files.on_evict(&seg->file);     /* its descriptor was evicted while it was pinned */
}

void seal_submit(struct segment *seg)
{
    struct seal *s = MEM_NEW(struct seal);
    *s = (struct seal){.segment = seg, .size = seg->size + END_RECORD_SIZE};
    s->job = (struct job){.run = seal_run, .done = seal_done};
    s->from = file_path(seg->dir, seg->first, FILE_ACTIVE);
    s->to = file_path(seg->dir, seg->first, FILE_SEALED);
    seg->dir->jobs++;
    worker_submit(seg->dir->disk->worker, &s->job);
}
