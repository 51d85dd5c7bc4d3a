/* Unlinking, which can take long, on the disk thread. */
#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "base/say.h"
#include "store/disk/io.h"
#include "store/log/inner.h"

struct delete_job {
    struct job job;
    struct journal *journal;     /* NULL: the trash */
    struct path dir;
    struct buf paths;
    int rc;
    bool sync_failed;
};

static void delete_one(struct delete_job *r, const char *path)
{
    if (io.unlink(path) < 0 && errno != ENOENT)
        r->rc = -errno;
}

/* Each is gone for good before the next: after a power loss there must be no hole between two files. */
static void delete_files_run(struct job *job)
{
    struct delete_job *r = LIST_OWNER(job, struct delete_job, job);
    slice rest = buf_slice(&r->paths);
    while (r->rc == 0 && rest.n > 0) {
        size_t n = strlen(rest.p);
        delete_one(r, rest.p);
        uint64_t first;
        const char *name = strrchr(rest.p, '/') + 1;
        if (r->rc == 0 && file_name_read(name, &first) == FILE_SEALED) {
            r->rc = io_sync_dir_or_all(r->dir.s, r->journal->store->disk.root_fd);
            r->sync_failed = r->rc < 0;
        }
        rest = slice_skip(rest, n + 1);
    }
}

static bool dot(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static void delete_topic(struct delete_job *r, const char *topic)
{
    DIR *dir = opendir(topic);
    if (!dir)
        return;
    for (struct dirent *e; (e = readdir(dir));)
        if (!dot(e->d_name))
            delete_one(r, path_of("%s/%s", topic, e->d_name).s);
    closedir(dir);
    if (io.rmdir(topic) < 0)
        r->rc = -errno;
}

static void delete_trash_run(struct job *job)
{
    struct delete_job *r = LIST_OWNER(job, struct delete_job, job);
    DIR *dir = opendir(r->dir.s);
    if (!dir)
        return;
    for (struct dirent *e; (e = readdir(dir));)
        if (!dot(e->d_name))
            delete_topic(r, path_of("%s/%s", r->dir.s, e->d_name).s);
    closedir(dir);
}

static void delete_done(struct job *job)
{
    struct delete_job *r = LIST_OWNER(job, struct delete_job, job);
    if (r->sync_failed)
        disk_failed(&r->journal->store->disk, "fsync", r->dir.s, r->rc);
    if (r->rc < 0)
        say_warn("store", "cannot remove old files in %s: %s", r->dir.s, strerror(-r->rc));
    if (r->journal)
        r->journal->jobs--;
    buf_fini(&r->paths);
    mem_free(r);
}

void delete_later_files(struct journal *j, struct buf *paths)
{
    struct delete_job *r = MEM_NEW(struct delete_job);
    r->job.run = delete_files_run;
    r->job.done = delete_done;
    r->journal = j;
    r->dir = topic_path(j);
    buf_move(&r->paths, paths);
    j->jobs++;
    worker_submit(j->store->disk.worker, &r->job);
}

void delete_later_trash(struct store *s)
{
    struct delete_job *r = MEM_NEW(struct delete_job);
    r->job.run = delete_trash_run;
    r->job.done = delete_done;
    r->dir = path_of("%s/trash", s->disk.root);
    worker_submit(s->disk.worker, &r->job);
}
