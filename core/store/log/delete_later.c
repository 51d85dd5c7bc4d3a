#include "store/log/delete_later.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/mem.h"
#include "base/say.h"
#include "store/disk/io.h"
#include "store/log/journal_struct.h"
#include "store/log/store_struct.h"
#include "store/log/write.h"

struct deletion {
    struct job job;
    struct disk *disk;           /* outlives us */
    struct topic_dir *dir;       /* whose files; NULL: everything in trash/. Outlives us: it counts its jobs */
    struct path folder;
    struct buf paths;            /* owned; of `dir` */
    int rc;
    bool sync_failed;
};

static void delete_file(struct deletion *d, const char *path)
{
    if (io.unlink(path) < 0 && errno != ENOENT)
        d->rc = -errno;
}

/* Each log file is gone from the disk before the next one: a power loss must not leave a hole between two files. */
static void delete_files_run(struct job *job)
{
    struct deletion *d = LIST_OWNER(job, struct deletion, job);
    for (slice rest = buf_slice(&d->paths); d->rc == 0 && rest.n > 0; rest = slice_skip(rest, strlen(rest.p) + 1)) {
        uint64_t first;
        delete_file(d, rest.p);
        if (d->rc < 0 || file_name_read(strrchr(rest.p, '/') + 1, &first) != FILE_SEALED)
            continue;
        d->rc = io_sync_dir_or_all(d->folder.s, d->disk->root_fd);
        d->sync_failed = d->rc < 0;
    }
}

static bool is_dot(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* A topic's directory, or the file of a small one. */
static void delete_topic(struct deletion *d, const char *topic)
{
    DIR *dir = opendir(topic);
    if (!dir) {
        if (errno == ENOTDIR)
            delete_file(d, topic);
        return;
    }
    for (struct dirent *e; (e = readdir(dir));)
        if (!is_dot(e->d_name))
            delete_file(d, path_of("%s/%s", topic, e->d_name).s);
    closedir(dir);
    if (io.rmdir(topic) < 0)
        d->rc = -errno;
}

/* NAME-OFFSET-MILLISECONDS.new: the loop is making it (journal_restart). What a crash has left of one is removed at the
 * start (unfinished.h). */
static bool is_being_made(const char *name)
{
    size_t n = strlen(name);
    return n > 4 && strcmp(name + n - 4, ".new") == 0;
}

/* A directory is gone from topics/ on the disk before its files go: a power loss must not bring back a part of them. A
 * small topic comes back whole or not at all. */
static void delete_trash_run(struct job *job)
{
    struct deletion *d = LIST_OWNER(job, struct deletion, job);
    struct path topics = path_of("%s/topics", d->disk->root);
    DIR *dir = opendir(d->folder.s);
    if (!dir)
        return;
    for (struct dirent *e; !d->sync_failed && (e = readdir(dir));) {
        if (is_dot(e->d_name) || is_being_made(e->d_name))
            continue;
        int rc = e->d_type == DT_REG ? 0 : io_sync_dir_or_all(topics.s, d->disk->root_fd);
        d->sync_failed = rc < 0;
        if (d->sync_failed)
            d->rc = rc;
        else
            delete_topic(d, path_of("%s/%s", d->folder.s, e->d_name).s);
    }
    closedir(dir);
}

static void delete_done(struct job *job)
{
    struct deletion *d = LIST_OWNER(job, struct deletion, job);
    if (d->sync_failed)
        disk_failed(d->disk, "fsync", d->folder.s, d->rc);
    if (d->rc < 0)
        say_warn("store", "cannot delete old files in %s: %s", d->folder.s, strerror(-d->rc));
    if (d->dir)
        d->dir->jobs--;
    buf_fini(&d->paths);
    mem_free(d);
}

void delete_later_files(struct topic_dir *dir, struct buf *paths)
{
    struct deletion *d = MEM_NEW(struct deletion);
    *d = (struct deletion){.disk = dir->disk, .dir = dir, .folder = topic_path(dir)};
    d->job = (struct job){.run = delete_files_run, .done = delete_done};
    buf_move(&d->paths, paths);
    dir->jobs++;
    worker_submit(dir->disk->worker, &d->job);
}

void delete_later_trash(struct disk *disk)
{
    struct deletion *d = MEM_NEW(struct deletion);
    *d = (struct deletion){.disk = disk, .folder = path_of("%s/trash", disk->root)};
    d->job = (struct job){.run = delete_trash_run, .done = delete_done};
    worker_submit(disk->worker, &d->job);
}

/* -- journals --------------------------------------------------------------------------------------------- */

/* Moves the files of a journal on which no job works any more, and frees the journal. */
static void finish_delete(struct journal *j)
{
    struct disk *disk = &j->store->disk;
    const struct topic_dir *dir = &j->parts.dir;
    struct path from = dir->small ? small_path(disk->root, dir->name) : topic_path(dir);
    struct path to = path_of("%s/trash/%s-%" PRIu64 "-%" PRIu64, disk->root, j->parts.dir.name, j->parts.dir.id.epoch,
                             j->parts.dir.id.offset);
    bool moved = io.rename(from.s, to.s) == 0, none = dir->small && j->parts.count == 0;
    if (!moved && !none)
        say_error("store", "cannot remove the files of a deleted topic path=%s: %s", from.s, strerror(errno));
    journal_free(j);
    if (moved)
        delete_later_trash(disk);
}

void store_finish_deletes(struct store *s)
{
    LIST_EACH(node, &s->leaving) {
        struct journal *j = LIST_OWNER(node, struct journal, all);
        if (!j->sync.committing && j->parts.dir.jobs == 0)
            finish_delete(j);
    }
}

bool store_is_leaving(const struct store *s, slice name)
{
    for (const struct list *node = s->leaving.next; node != &s->leaving; node = node->next)
        if (slice_eq(slice_from(LIST_OWNER(node, const struct journal, all)->parts.dir.name), name))
            return true;
    return false;
}

void journal_delete(struct journal *j)
{
    struct store *s = j->store;
    background_stop(&j->background, JOURNAL_CHANGES);
    list_remove(&j->sync.dirty);
    list_remove(&j->sync.unsynced);
    journal_unhold(j);
    j->owner = NULL;
    list_remove(&j->all);
    list_push(&s->leaving, &j->all);
    store_finish_deletes(s);
}
