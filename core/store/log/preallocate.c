/* The next file made ahead of time, so that a roll is a rename. Only for topics that fill files of some size. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/disk/io.h"
#include "store/log/inner.h"

struct preallocate_job {
    struct job job;
    struct journal *journal;
    struct path path, dir;
    uint64_t space;
    int rc;
};

struct path preallocate_path(const struct journal *j)
{
    return path_of("%s/spare", topic_path(j).s);
}

static int preallocate_fill(const struct preallocate_job *s, int fd)
{
    int rc = -io.allocate(fd, 0, (off_t)s->space);
    if (rc == 0 && io.sync_all(fd) < 0)
        rc = -errno;
    return rc;
}

static void preallocate_run(struct job *job)
{
    struct preallocate_job *s = LIST_OWNER(job, struct preallocate_job, job);
    int fd = io.open(s->path.s, O_RDWR | O_CREAT | O_EXCL, 0640);
    if (fd < 0) {
        s->rc = -errno;
        return;
    }
    s->rc = preallocate_fill(s, fd);
    close(fd);
    if (s->rc == 0)
        s->rc = io_sync_dir(s->dir.s);
    else
        io.unlink(s->path.s);
}

static void preallocate_done(struct job *job)
{
    struct preallocate_job *s = LIST_OWNER(job, struct preallocate_job, job);
    struct journal *j = s->journal;
    if (s->rc == -EIO)
        disk_failed(&j->store->disk, "fsync", s->path.s, s->rc);
    j->preallocated = s->rc == 0 ? PREALLOCATE_READY : PREALLOCATE_NONE;
    j->jobs--;
    mem_free(s);
}

static bool preallocate_worth(const struct journal *j)
{
    const struct segment *seg = j->active;
    const struct journal_options *o = &j->options;
    return seg->size >= SEGMENT_SPACE_FIRST
        && (seg->size > o->segment_bytes / 2 || seg->next - seg->first > o->segment_messages / 2);
}

void preallocate_want(struct journal *j)
{
    if (j->preallocated != PREALLOCATE_NONE || j->active->preallocated || !preallocate_worth(j))
        return;
    struct preallocate_job *s = MEM_NEW(struct preallocate_job);
    s->job.run = preallocate_run;
    s->job.done = preallocate_done;
    s->journal = j;
    s->path = preallocate_path(j);
    s->dir = topic_path(j);
    s->space = j->active->space < SEGMENT_SPACE_STEP_MAX ? j->active->space : SEGMENT_SPACE_STEP_MAX;
    j->active->preallocated = true;
    j->preallocated = PREALLOCATE_RUNNING;
    j->jobs++;
    worker_submit(j->store->disk.worker, &s->job);
}

int preallocate_take(struct journal *j, const char *path)
{
    if (j->preallocated != PREALLOCATE_READY)
        return -ENOENT;
    j->preallocated = PREALLOCATE_NONE;
    return io.rename(preallocate_path(j).s, path) < 0 ? -errno : 0;
}
