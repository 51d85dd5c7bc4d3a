#include "store/replication/truncate_shorten.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/disk/io.h"
#include "store/log/store_struct.h"

struct shortening {
    struct job job;
    struct journal *journal;     /* outlives us: it counts its jobs */
    struct path path;
    int fd;                      /* owned: the segment's may be evicted */
    uint64_t size, at;           /* of the file in the end, and now */
    int rc;
};

/* The last step fsyncs: after a power loss the file may have the length that any step gave it. */
static int step(int fd, uint64_t to, bool last)
{
    int rc = io.truncate(fd, (off_t)to) < 0 ? -errno : 0;
    return rc == 0 && last && io.sync_all(fd) < 0 ? -errno : rc;
}

static void shorten_run(struct job *job)
{
    struct shortening *s = LIST_OWNER(job, struct shortening, job);
    s->at = s->at - s->size > BACKGROUND_STEP ? s->at - BACKGROUND_STEP : s->size;
    s->rc = step(s->fd, s->at, s->at == s->size);
}

static void shorten_done(struct job *job)
{
    struct shortening *s = LIST_OWNER(job, struct shortening, job);
    struct journal *j = s->journal;
    struct disk *disk = &j->store->disk;
    if (s->rc < 0)
        disk_failed(disk, "truncate", s->path.s, s->rc);
    if (s->at > s->size) {
        worker_submit(disk->worker, &s->job);
        return;
    }
    j->shortening = false;
    j->parts.dir.jobs--;
    close(s->fd);
    mem_free(s);
}

int truncate_shorten(struct journal *j, struct segment *seg, uint64_t size)
{
    struct stat st;
    int rc = segment_use(seg);
    if (rc < 0)
        return rc;
    if (fstat(seg->file.fd, &st) < 0)
        return -errno;
    uint64_t at = (uint64_t)st.st_size;
    if (at <= size + BACKGROUND_STEP)
        return step(seg->file.fd, size, true);
    struct path path = segment_path(seg);
    int fd = io.open(path.s, O_WRONLY, 0);
    if (fd < 0)
        return -errno;
    struct shortening *s = MEM_NEW(struct shortening);
    *s = (struct shortening){.journal = j, .path = path, .fd = fd, .size = size, .at = at,
                             .job = {.run = shorten_run, .done = shorten_done}};
    j->shortening = true;
    j->parts.dir.jobs++;
    worker_submit(j->store->disk.worker, &s->job);
    return 0;
}
