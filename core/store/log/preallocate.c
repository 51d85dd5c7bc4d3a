#include "store/log/preallocate.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/disk/io.h"

struct preallocate {
    struct job job;
    struct topic_dir *dir;          /* outlives us: it counts its jobs */
    enum preallocation *state;      /* outlives us */
    struct path path, folder;
    uint64_t space;
    int rc;
};

static struct path spare_path(const struct topic_dir *dir)
{
    return path_of("%s/spare", topic_path(dir).s);
}

static void preallocate_run(struct job *job)
{
    struct preallocate *p = LIST_OWNER(job, struct preallocate, job);
    int fd = io.open(p->path.s, O_RDWR | O_CREAT | O_EXCL, 0640);
    if (fd < 0) {
        p->rc = -errno;
        return;
    }
    p->rc = -io.allocate(fd, 0, (off_t)p->space);
    if (p->rc == 0 && io.sync_all(fd) < 0)
        p->rc = -errno;
    close(fd);
    if (p->rc == 0)
        p->rc = io_sync_dir(p->folder.s);
    else
        io.unlink(p->path.s);
}

static void preallocate_done(struct job *job)
{
    struct preallocate *p = LIST_OWNER(job, struct preallocate, job);
    if (p->rc == -EIO)
        disk_failed(p->dir->disk, "fsync", p->path.s, p->rc);
    *p->state = p->rc == 0 ? PREALLOCATED_READY : PREALLOCATED_NONE;
    p->dir->jobs--;
    mem_free(p);
}

void preallocate_begin(struct topic_dir *dir, uint64_t space, enum preallocation *state)
{
    struct preallocate *p = MEM_NEW(struct preallocate);
    *p = (struct preallocate){.dir = dir, .state = state, .path = spare_path(dir), .folder = topic_path(dir),
                              .space = space};
    p->job = (struct job){.run = preallocate_run, .done = preallocate_done};
    *state = PREALLOCATING;
    dir->jobs++;
    worker_submit(dir->disk->worker, &p->job);
}

int preallocate_take(const struct topic_dir *dir, enum preallocation *state, const char *path)
{
    if (*state != PREALLOCATED_READY)
        return -ENOENT;
    *state = PREALLOCATED_NONE;
    return io.rename(spare_path(dir).s, path) < 0 ? -errno : 0;
}

void preallocate_drop(const struct topic_dir *dir, enum preallocation *state)
{
    if (*state == PREALLOCATED_READY)
        io.unlink(spare_path(dir).s);
    *state = PREALLOCATED_NONE;
}
