#include "store/recovery/open.h"

#include <errno.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/say.h"
#include "store/disk/io.h"
#include "store/disk/io_fault.h"
#include "store/disk/lock.h"
#include "store/log/commit_log.h"
#include "store/log/delete_later.h"
#include "store/log/group_commit.h"
#include "store/log/journal_struct.h"
#include "store/log/store_struct.h"
#include "store/recovery/identity.h"
#include "store/recovery/recover.h"
#include "store/recovery/replay.h"
#include "store/recovery/unchanged.h"
#include "store/recovery/unfinished.h"

static int make_folders(struct disk *d, struct buf *why)
{
    static const char *const folders[] = {"topics", "small", "torn", "trash", "diverged", "commit"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        struct path path = path_of("%s/%s", d->root, folders[i]);
        if (io.mkdir(path.s, 0750) < 0 && errno != EEXIST) {
            int rc = -errno;
            buf_addf(why, "cannot make %s: %s", path.s, strerror(-rc));
            return rc;
        }
    }
    int rc = io_sync_dir(d->root);
    if (rc < 0)
        buf_addf(why, "cannot fsync %s: %s", d->root, strerror(-rc));
    return rc;
}

/* What survived a kill -9 may be in the page cache only. It has to be on disk before recovery calls it durable. */
static int sync_leftovers(struct store *s, struct buf *why)
{
    struct disk *d = &s->disk;
    if (s->last_run.clean)
        return 0;
    if (s->last_run.io_failed)
        say_warn("store", "the last run ended by a failed write: files are read from the disk itself");
    if (io.sync_fs(d->root_fd) < 0) {
        int rc = -errno;
        buf_addf(why, "cannot sync the filesystem of %s: %s", d->root, strerror(-rc));
        return rc;
    }
    /* Everything is on disk, so clear `weak`; if that cannot be saved, leave it set. */
    bool weak = d->state.weak;
    d->state.weak = false;
    if (weak && disk_save_state(d) < 0)
        d->state.weak = true;
    return 0;
}

int store_open(const struct store_options *o, struct store **out, struct buf *why)
{
    io_fault_install();
    struct store *s = store_new(o);
    struct disk *d = &s->disk;
    int rc = lock_take(d->root, false, &d->root_fd, &d->lock_fd, why);
    if (rc == 0) {
        disk_note_filesystem(d);
        rc = make_folders(d, why);
    }
    if (rc == 0)
        rc = identity_open(s, why);
    if (rc == 0)
        rc = commit_log_replay(s, why);
    if (rc == 0)
        rc = sync_leftovers(s, why);
    if (rc == 0 && (rc = worker_new(&d->worker)) < 0)
        buf_addf(why, "cannot start the disk thread: %s", strerror(-rc));
    if (rc < 0) {
        store_free(s);
        return rc;
    }
    s->ends = ends_open(path_of("%s/ends", d->root).s, &d->state.cluster);
    s->has_ends = s->ends != NULL;
    s->commit = group_commit_new(s);
    s->log = commit_log_new(s);
    unfinished_remove(d);
    delete_later_trash(d);
    *out = s;
    return 0;
}

/* Also a link that leads nowhere is there: where it leads may not be mounted. 0 or -errno. */
static int is_there(const char *path, bool *there)
{
    struct stat st;
    *there = lstat(path, &st) == 0;
    return *there || errno == ENOENT ? 0 : -errno;
}

/* Finds out where a topic's files are, and whether there are any, or data/ends says that there were. 0 or -errno. */
static int find_files(struct journal *j, bool *exists)
{
    struct topic_dir *dir = &j->parts.dir;
    struct store *s = j->store;
    struct checkpoint were;
    bool own, small = false;
    int rc = is_there(topic_path(dir).s, &own);
    if (rc == 0)
        rc = is_there(small_path(s->disk.root, dir->name).s, &small);
    if (rc < 0)
        return rc;
    *exists = own || small || checkpoint_of_end(j, &were);
    dir->small = !own && !s->options.own_dirs;
    if (small && own)
        rc = small_move(&s->disk, dir->name);
    else if (small)
        dir->small = true;
    else if (!own && !dir->small)
        rc = io.mkdir(topic_path(dir).s, 0750) < 0 ? -errno : 0;
    s->queue.topics_dirty |= !own && !dir->small;
    return rc;
}

int journal_open(struct store *s, slice name, const struct journal_options *o, struct journal **out)
{
    if (store_is_leaving(s, name))
        store_sync_all(s);
    struct journal *j = journal_new(s, name, o);
    bool exists = false, unchanged = journal_take_unchanged(j);
    int rc = unchanged ? 0 : find_files(j, &exists);
    if (rc == 0 && exists)
        rc = journal_recover(j);
    if (rc < 0) {
        journal_free(j);
        return rc;
    }
    ends_note_opened(s->ends, name);
    identity_note_epoch(s, j->marks.epoch);
    j->marks.timed_ns = clock_ns();
    *out = j;
    return 0;
}
