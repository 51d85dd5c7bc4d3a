/* Making and closing a store, closing journals; names and figures. */
#include <dirent.h>
#include <errno.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/ensure.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/say.h"
#include "store/disk/io.h"
#include "store/log/append.h"
#include "store/log/commit_log.h"
#include "store/log/group_commit.h"
#include "store/log/origins.h"
#include "store/log/store_struct.h"
#include "store/log/topic_end.h"
#include "store/log/write.h"

struct store *store_new(const struct store_options *o)
{
    struct store *s = MEM_NEW(struct store);
    s->options = *o;
    disk_init(&s->disk, o->path, o->files_max ? o->files_max : FILES_OPEN_MAX, segment_evicted);
    index_cache_init(&s->indexes, INDEX_CACHE_SIZE_MAX);
    list_init(&s->journals);
    intern_init(&s->options_of_journals, sizeof(struct journal_options), journal_options_equal);
    list_init(&s->leaving);
    list_init(&s->background);
    list_init(&s->queue.dirty);
    list_init(&s->queue.unsynced);
    list_init(&s->queue.unsynced_later);
    list_init(&s->queue.held);
    list_init(&s->queue.held_mark);
    return s;
}

void store_free(struct store *s)
{
    if (s->commit)
        group_commit_free(s->commit);
    if (s->log)
        commit_log_free(s->log);
    ends_close(s->ends);
    reader_fini(&s->reader);
    buf_fini(&s->names);
    disk_fini(&s->disk);
    mem_free(s);
}

void store_opened(struct store *s)
{
    ends_close(s->ends);
    s->ends = NULL;
}

void store_close(struct store *s)
{
    struct ends_writer ending = {0};
    store_sync_all(s);
    s->ending = &ending;
    while (!list_empty(&s->journals))
        journal_close(list_first(&s->journals, struct journal, all));
    worker_wait(s->disk.worker);
    ends_keep(s->ends, &ending);
    int ends = s->lost ? 0 : ends_write(&ending, path_of("%s/ends", s->disk.root).s, &s->disk.state.cluster);
    if (ends < 0)
        say_warn("store", "cannot write %s/ends: %s (the next start reads more)", s->disk.root, strerror(-ends));
    ends_writer_fini(&ending);
    /* The state may call itself clean only when the checkpoints are on disk. */
    if (io.sync_fs(s->disk.root_fd) < 0)
        disk_failed(&s->disk, "syncfs", s->disk.root, -errno);
    int rc = commit_log_close(s->log);
    if (rc < 0)
        disk_failed(&s->disk, "unlink", s->disk.root, rc);
    s->disk.state.clean = true;
    s->disk.state.weak = false;
    rc = disk_save_state(&s->disk);
    if (rc < 0)
        say_warn("store", "cannot write %s/state: %s (the next start recovers as after a crash)", s->disk.root,
                 strerror(-rc));
    io.unlink(path_of("%s/io-failed", s->disk.root).s);
    store_free(s);
}

/* -- journals --------------------------------------------------------------------------------------------- */

void journal_close(struct journal *j)
{
    const struct marks *m = &j->marks;
    if (m->written < m->tail || m->disk < m->written || j->sync.committing || j->parts.dir.jobs)
        store_sync_all(j->store);
    journal_write_held(j);
    origins_close(j);
    preallocate_drop(&j->parts.dir, &j->next_file);
    struct topic_end end;
    if (j->store->lost) {
        /* there is nothing to note */
    } else if (j->store->ending && journal_ends_small(j)) {
        if (topic_end_of(j, &end) == 0)
            ends_add(j->store->ending, slice_from(j->parts.dir.name), &end);
    } else if (j->parts.active && !j->checkpoint.clean) {
        struct checkpoint c = journal_checkpoint(j);
        c.clean = true;
        journal_save_checkpoint(j, &c);
    }
    journal_free(j);
}

void journal_set_options(struct journal *j, const struct journal_options *o)
{
    ENSURE(j->parts.dir.id.epoch == o->id.epoch);
    ENSURE(j->parts.dir.id.offset == o->id.offset);
    bool changed = j->options->durability != o->durability;
    journal_share_options(j, o);
    if (changed)
        journal_settle(j);             /* producers wait for what the old durability promised */
}

/* -- state ------------------------------------------------------------------------------------------------ */

struct state *store_state(struct store *s)
{
    return &s->disk.state;
}

int store_save_state(struct store *s)
{
    return disk_save_state(&s->disk);
}

static bool topic_has_files(const struct store *s, const char *name)
{
    uint64_t first;
    bool has = access(small_path(s->disk.root, name).s, F_OK) == 0;
    DIR *dir = has ? NULL : opendir(path_of("%s/topics/%s", s->disk.root, name).s);
    for (struct dirent *e; dir && !has && (e = readdir(dir));)
        has = file_name_read(e->d_name, &first) < FILE_INDEX;
    if (dir)
        closedir(dir);
    return has;
}

int store_set_cluster(struct store *s, const struct id *cluster)
{
    size_t at = 0;
    slice name;
    struct id before = s->disk.state.cluster;
    while (store_next_name(s, &at, &name))
        if (topic_has_files(s, name.p))
            return -ERR_FORBIDDEN;
    s->disk.state.cluster = *cluster;
    int rc = store_save_state(s);
    if (rc < 0)
        s->disk.state.cluster = before;
    return rc;
}

/* -- names and figures ------------------------------------------------------------------------------------ */

static void list_names(struct store *s, const char *folder)
{
    DIR *dir = opendir(path_of("%s/%s", s->disk.root, folder).s);
    for (struct dirent *e; dir && (e = readdir(dir));)
        if (e->d_name[0] != '.')
            buf_add(&s->names, e->d_name, strlen(e->d_name) + 1);
    if (dir)
        closedir(dir);
}

bool store_next_name(struct store *s, size_t *at, slice *name)
{
    if (*at == 0) {
        buf_clear(&s->names);
        list_names(s, "topics");
        list_names(s, "small");
    }
    if (*at >= buf_size(&s->names))
        return false;
    *name = slice_from(s->names.data + s->names.at + *at);
    *at += name->n + 1;
    return true;
}

bool store_is_full(const struct store *s)
{
    return s->refused_ns > 0 && clock_ns() - s->refused_ns < FULL_MS * NS_PER_MS;
}

bool store_is_damaged(const struct store *s)
{
    return s->stats.damaged > 0;
}

void store_stats(struct store *s, struct store_stats *out)
{
    struct statvfs fs;
    s->stats.files_open = s->disk.files.open;
    if (fstatvfs(s->disk.root_fd, &fs) == 0) {
        s->stats.disk_free = (uint64_t)fs.f_bavail * fs.f_frsize;
        s->stats.disk_size = (uint64_t)fs.f_blocks * fs.f_frsize;
    }
    *out = s->stats;
}
