/*
 * A round is one go of the disk thread over all journals that were written since the last: group commit.
 *
 * What a round covers is fixed when it is submitted: marks rise afterwards only as far as that. A few files are
 * fdatasynced one by one, with the directories that have new entries; many go with one syncfs, which also is the only
 * way to reach a file whose descriptor had to be given up.
 */
#include <errno.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "store/disk/io.h"
#include "store/log/inner.h"

/* A journal in the round, and how far its disk mark rises when it is over. */
struct entry {
    struct journal *journal;
    uint64_t disk;
    bool has_checkpoint;
    struct checkpoint checkpoint;
};

struct group_commit {
    struct job job;
    struct store *store;         /* outlives us */
    bool busy;
    uint64_t submitted_ns;
    struct entry *entries;       /* owned */
    size_t count, cap;
    struct list sealing;         /* segments to rename afterwards */
    struct segment *segments[SYNC_ONE_BY_ONE_MAX];   /* pinned */
    int fds[SYNC_ONE_BY_ONE_MAX];
    unsigned files;
    struct buf dirs;             /* NUL-terminated paths to fsync */
    bool whole;                  /* one syncfs instead */
    int root_fd;
    /* set by the disk thread */
    int rc;
    const char *failed;
    uint64_t took_ns;
};

static void group_commit_run(struct job *job);
static void group_commit_done(struct job *job);

void group_commit_new(struct store *s)
{
    struct group_commit *r = MEM_NEW(struct group_commit);
    r->store = s;
    r->root_fd = s->disk.root_fd;
    r->job = (struct job){.run = group_commit_run, .done = group_commit_done, .urgent = true};
    list_init(&r->sealing);
    s->commit = r;
}

void group_commit_free(struct store *s)
{
    ENSURE(!s->commit->busy);
    mem_free(s->commit->entries);
    buf_fini(&s->commit->dirs);
    mem_free(s->commit);
    s->commit = NULL;
}

bool group_commit_busy(const struct store *s)
{
    return s->commit->busy;
}

uint64_t store_stalled_ns(const struct store *s)
{
    return s->commit->busy ? clock_ns() - s->commit->submitted_ns : 0;
}

/* -- on the disk thread ----------------------------------------------------------------------------------- */

static int group_commit_sync_files(struct group_commit *r)
{
    for (unsigned i = 0; i < r->files; i++)
        if (io.sync_data(r->fds[i]) < 0)
            return r->failed = "fdatasync", -errno;
    return 0;
}

static int group_commit_sync_dirs(struct group_commit *r)
{
    for (slice rest = buf_slice(&r->dirs); rest.n > 0; rest = slice_skip(rest, strlen(rest.p) + 1)) {
        int rc = io_sync_dir_or_all(rest.p, r->root_fd);
        if (rc < 0)
            return r->failed = "fsync of a directory", rc;
    }
    return 0;
}

static int group_commit_sync_whole(struct group_commit *r)
{
    return io.sync_fs(r->root_fd) == 0 ? 0 : (r->failed = "syncfs", -errno);
}

static void group_commit_run(struct job *job)
{
    struct group_commit *r = LIST_OWNER(job, struct group_commit, job);
    uint64_t begun = clock_ns();
    r->rc = r->whole ? group_commit_sync_whole(r) : group_commit_sync_files(r);
    if (r->rc == 0 && !r->whole)
        r->rc = group_commit_sync_dirs(r);
    r->took_ns = clock_ns() - begun;
}

/* -- before and after ------------------------------------------------------------------------------------- */

static void group_commit_add_file(struct group_commit *r, struct segment *seg)
{
    seg->file.dirty = false;
    if (r->files == SYNC_ONE_BY_ONE_MAX)
        r->whole = true;
    if (r->whole || segment_use(seg) < 0) {
        r->whole = true;
        return;
    }
    seg->file.pins++;
    r->fds[r->files] = seg->file.fd;
    r->segments[r->files++] = seg;
}

static void group_commit_add_dir(struct group_commit *r, const char *path)
{
    buf_add(&r->dirs, path, strlen(path) + 1);
}

static struct entry *group_commit_add_entry(struct group_commit *r)
{
    if (r->count == r->cap) {
        r->cap = r->cap ? r->cap * 2 : 16;
        r->entries = mem_resize(r->entries, r->cap * sizeof *r->entries);
    }
    return &r->entries[r->count++];
}

static void group_commit_add(struct group_commit *r, struct journal *j)
{
    struct entry *e = group_commit_add_entry(r);
    bool active = j->active && (j->options.durability != DURABILITY_OS || r->store->closing);
    *e = (struct entry){.journal = j, .disk = active || !j->active ? j->written : j->active->first};
    e->has_checkpoint = active && buf_size(&j->pending) == 0;
    if (e->has_checkpoint)
        e->checkpoint = journal_checkpoint(j);
    LIST_EACH(node, &j->sealing)
        group_commit_add_file(r, LIST_OWNER(node, struct segment, sealing));
    list_splice(&r->sealing, &j->sealing);
    if (active)
        group_commit_add_file(r, j->active);
    if (j->dir_dirty)
        group_commit_add_dir(r, topic_path(j).s);
    j->dir_dirty = false;
    j->in_round = true;
}

static void group_commit_add_all(struct group_commit *r, struct list *journals)
{
    while (!list_empty(journals)) {
        struct journal *j = list_first(journals, struct journal, unsynced);
        list_remove(&j->unsynced);
        group_commit_add(r, j);
    }
}

void group_commit_submit(struct store *s, struct list *journals, struct list *more)
{
    struct group_commit *r = s->commit;
    ENSURE(!r->busy);
    r->whole = s->disk.files.dirty_closed;
    group_commit_add_all(r, journals);
    if (more)
        group_commit_add_all(r, more);
    if (s->topics_dirty)
        group_commit_add_dir(r, path_of("%s/topics", s->disk.root).s);
    s->topics_dirty = false;
    if (s->disk.files.dirty_closed)         /* also when opening a file for this round closed another */
        r->whole = true;
    s->disk.files.dirty_closed = false;
    r->busy = true;
    r->submitted_ns = clock_ns();
    commit_wait_begin(&s->commit_wait, r->submitted_ns);
    worker_submit(s->disk.worker, &r->job);
}

static void entry_done(struct store *s, struct entry *e)
{
    struct journal *j = e->journal;
    struct checkpoint *c = &e->checkpoint;
    j->in_round = false;
    if (e->disk <= j->disk)
        return;
    j->disk = e->disk;
    bool current = e->has_checkpoint && j->active && j->active->first == c->first;
    if (current && c->position >= j->checkpoint_position + CHECKPOINT_EVERY)
        journal_save_checkpoint(j, c);
    if (j->disk == j->tail)
        buf_fini(&j->pending);         /* an idle topic keeps no buffer */
    if (s->options.moved && j->owner)
        s->options.moved(j->owner, j->written, j->disk);
}

static void group_commit_count(struct group_commit *r)
{
    struct store_stats *stats = &r->store->stats;
    hist_record(&stats->sync, r->took_ns);
    stats->syncs++;
    stats->synced_files += r->count;
}

static void group_commit_done(struct job *job)
{
    struct group_commit *r = LIST_OWNER(job, struct group_commit, job);
    struct store *s = r->store;
    if (r->rc < 0)
        disk_failed(&s->disk, r->failed, s->disk.root, r->rc);
    group_commit_count(r);
    commit_wait_end(&s->commit_wait, clock_ns(), r->took_ns);
    r->busy = false;
    for (unsigned i = 0; i < r->files; i++)
        r->segments[i]->file.pins--;
    for (size_t i = 0; i < r->count; i++)
        entry_done(s, &r->entries[i]);
    while (!list_empty(&r->sealing)) {
        struct segment *seg = list_first(&r->sealing, struct segment, sealing);
        list_remove(&seg->sealing);
        seal_submit(seg);
    }
    r->count = r->files = 0;
    buf_clear(&r->dirs);
}
