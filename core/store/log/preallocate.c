/* The next file made ahead of time, so that a roll is a rename. Only for topics that fill files of some size. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/disk/io.h"
#include "store/log/inner.h"

struct spare_job {
    struct job job;
    struct journal *journal;
    struct path path, dir;
    uint64_t space;
    int rc;
};

struct path spare_path(const struct journal *j)
{
    return path_of("%s/spare", topic_path(j).s);
}

static int spare_fill(const struct spare_job *s, int fd)
{
    int rc = -io.allocate(fd, 0, (off_t)s->space);
    if (rc == 0 && io.sync_all(fd) < 0)
        rc = -errno;
    return rc;
}

static void spare_run(struct job *job)
{
    struct spare_job *s = LIST_OWNER(job, struct spare_job, job);
    int fd = io.open(s->path.s, O_RDWR | O_CREAT | O_EXCL, 0640);
    if (fd < 0) {
        s->rc = -errno;
        return;
    }
    s->rc = spare_fill(s, fd);
    close(fd);
    if (s->rc == 0)
        s->rc = io_sync_dir(s->dir.s);
    else
        io.unlink(s->path.s);
}

static void spare_done(struct job *job)
{
    struct spare_job *s = LIST_OWNER(job, struct spare_job, job);
    struct journal *j = s->journal;
    if (s->rc == -EIO)
        store_io_failed(j->store, "fsync", s->path.s, s->rc);
    j->spare = s->rc == 0 ? SPARE_READY : SPARE_NONE;
    j->jobs--;
    mem_free(s);
}

static bool spare_worth(const struct journal *j)
{
    const struct segment *seg = j->active;
    const struct journal_options *o = &j->options;
    return seg->size >= SEGMENT_SPACE_FIRST
        && (seg->size > o->segment_bytes / 2 || seg->next - seg->first > o->segment_messages / 2);
}

void spare_want(struct journal *j)
{
    if (j->spare != SPARE_NONE || j->active->spare_asked || !spare_worth(j))
        return;
    struct spare_job *s = MEM_NEW(struct spare_job);
    s->job.run = spare_run;
    s->job.done = spare_done;
    s->journal = j;
    s->path = spare_path(j);
    s->dir = topic_path(j);
    s->space = j->active->space < SEGMENT_SPACE_STEP_MAX ? j->active->space : SEGMENT_SPACE_STEP_MAX;
    j->active->spare_asked = true;
    j->spare = SPARE_MAKING;
    j->jobs++;
    sync_submit(j->store->sync, &s->job);
}

int spare_take(struct journal *j, const char *path)
{
    if (j->spare != SPARE_READY)
        return -ENOENT;
    j->spare = SPARE_NONE;
    return io.rename(spare_path(j).s, path) < 0 ? -errno : 0;
}
