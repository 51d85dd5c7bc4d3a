#include "store/log/group_commit.h"

#include <errno.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "store/disk/io.h"
#include "store/log/append.h"
#include "store/log/commit_log.h"
#include "store/log/origins.h"
#include "store/log/seal.h"
#include "store/log/store_struct.h"
#include "store/log/write.h"
#include "store/log/zero_ahead.h"

/* A journal that is covered, and how far its disk mark rises at the end. */
struct entry {
    struct journal *journal;
    uint64_t disk;
    struct segment *active;      /* is durable up to `synced` then; NULL: it is not covered */
    uint64_t synced;
    bool logged;                 /* by the commit log */
    bool has_checkpoint;
    struct checkpoint checkpoint;
};

struct group_commit {
    struct job job;
    struct store *store;         /* outlives us */
    bool running;
    uint64_t submitted_ns;
    struct entry *entries;       /* owned */
    size_t count, cap;
    struct list sealing;         /* segments to seal afterwards */
    struct segment *segments[SYNC_ONE_BY_ONE_MAX];   /* pinned */
    /* what the disk thread reads */
    int fds[SYNC_ONE_BY_ONE_MAX];
    unsigned files;
    struct buf dirs;             /* NUL-terminated paths to fsync */
    bool whole;                  /* one syncfs instead of all others */
    bool by_log;                 /* the commit log has a frame of this one */
    int root_fd, lock_fd;
    /* and writes */
    int rc;
    const char *failed;          /* the call that failed */
    int log_rc;                  /* of commit_log_write */
    bool lost;                   /* a file that was synced has no name any more */
    uint64_t took_ns;
};

/* -- on the disk thread ----------------------------------------------------------------------------------- */

static int sync_each(struct group_commit *c)
{
    for (unsigned i = 0; i < c->files; i++)
        if (io.sync_data(c->fds[i]) < 0)
            return c->failed = "fdatasync", -errno;
        else if (file_is_lost(c->fds[i]))
            return c->lost = true, 0;
    for (slice rest = buf_slice(&c->dirs); rest.n > 0; rest = slice_skip(rest, strlen(rest.p) + 1)) {
        int rc = io_sync_dir_or_all(rest.p, c->root_fd);
        if (rc < 0)
            return c->failed = "fsync of a directory", rc;
    }
    return 0;
}

static void sync_log(struct group_commit *c)
{
    c->log_rc = commit_log_write(c->store->log, &c->failed);
    c->lost = c->lost || c->log_rc == 1;
    c->rc = c->failed ? c->log_rc : c->rc;
}

static void commit_run(struct job *job)
{
    struct group_commit *c = LIST_OWNER(job, struct group_commit, job);
    uint64_t begun = clock_ns();
    c->lost = file_is_lost(c->lock_fd);
    bool each = !c->lost && !c->whole;
    if (each)
        c->rc = sync_each(c);
    if (each && c->rc == 0 && !c->lost && c->by_log)
        sync_log(c);
    if (!c->lost && !each && io.sync_fs(c->root_fd) < 0)
        c->failed = "syncfs", c->rc = -errno;
    c->took_ns = clock_ns() - begun;
}

/* -- on the loop thread: before --------------------------------------------------------------------------- */

static void add_file(struct group_commit *c, struct segment *seg)
{
    bool dirty_closed = seg->file.dirty && seg->file.fd < 0;
    seg->file.dirty = false;
    if (c->files == SYNC_ONE_BY_ONE_MAX || dirty_closed)
        c->whole = true;
    if (c->whole || segment_use(seg) < 0) {
        c->whole = true;
        return;
    }
    seg->file.pins++;
    c->fds[c->files] = seg->file.fd;
    c->segments[c->files++] = seg;
}

static void add_dir(struct group_commit *c, const char *path)
{
    buf_add(&c->dirs, path, strlen(path) + 1);
}

/* Whether the commit log makes a journal durable. It does not for a new file, whose name must be on the disk. */
static bool add_to_log(struct group_commit *c, struct journal *j)
{
    struct segment *seg = j->parts.active;
    bool small = seg->size - seg->synced <= COMMIT_LOGGED_MAX;
    if (!c->by_log || !small || j->sync.dir_dirty)
        return false;
    if (!commit_log_add(c->store->log, j))
        return c->whole = true, false;
    seg->file.dirty = false;
    return true;
}

static void add_journal(struct group_commit *c, struct journal *j)
{
    struct segment *seg = j->parts.active;
    /* Under durability `os` the active file is not synced, only those that were ended. */
    bool now = c->store->queue.urgent || j->marks.disk < j->sync.settle_to;
    bool active = seg && (j->options->durability != DURABILITY_OS || now);
    if (c->count == c->cap) {
        c->cap = c->cap ? c->cap * 2 : 16;
        c->entries = mem_resize(c->entries, c->cap * sizeof *c->entries);
    }
    struct entry *e = &c->entries[c->count++];
    bool logged = active && add_to_log(c, j);
    if (!logged)
        journal_write(j);
    *e = (struct entry){.journal = j, .disk = active || !seg ? j->marks.tail : seg->first, .logged = logged};
    e->has_checkpoint = active;
    if (active)
        e->checkpoint = journal_checkpoint(j);
    e->active = active ? seg : NULL;
    e->synced = active ? seg->size : 0;

    LIST_EACH(node, &j->sync.sealing)
        add_file(c, LIST_OWNER(node, struct segment, sealing));
    list_splice(&c->sealing, &j->sync.sealing);
    if (active && !e->logged) {
        add_file(c, seg);
        if (!c->whole)
            zero_ahead(&c->store->disk, seg->file.fd, &seg->zeroed, seg->size - seg->synced, seg->size, seg->space);
    }
    if (j->sync.dir_dirty && !j->parts.dir.small)
        add_dir(c, topic_path(&j->parts.dir).s);
    j->sync.dir_dirty = false;
    j->sync.committing = true;
}

static void add_journals(struct group_commit *c, struct list *journals)
{
    while (!list_empty(journals)) {
        struct journal *j = list_first(journals, struct journal, sync.unsynced);
        list_remove(&j->sync.unsynced);
        add_journal(c, j);
    }
}

static bool has_many(const struct list *journals, const struct list *later)
{
    unsigned n = 0;
    for (const struct list *l = journals->next; l != journals && n < COMMIT_LOG_MIN; l = l->next)
        n++;
    for (const struct list *l = later ? later->next : NULL; l != later && n < COMMIT_LOG_MIN; l = l->next)
        n++;
    return n == COMMIT_LOG_MIN;
}

/* Decides whether the frame that was begun is written. */
static void end_frame(struct group_commit *c)
{
    struct store *s = c->store;
    bool any = false;
    for (size_t i = 0; i < c->count; i++)
        any = any || c->entries[i].logged;
    c->by_log = any && !c->whole;
    if (!c->by_log) {
        commit_log_drop(s->log);
        for (size_t i = 0; i < c->count; i++) {
            c->entries[i].logged = false;
            journal_write(c->entries[i].journal);
        }
        return;
    }
    uint64_t use = commit_log_take(s->log);
    for (size_t i = 0; i < c->count; i++)
        if (c->entries[i].logged)
            c->entries[i].journal->sync.logged = use;
}

void group_commit_submit(struct group_commit *c, struct list *journals, struct list *later)
{
    struct store *s = c->store;
    struct files *files = &s->disk.files;
    ENSURE(!c->running);
    c->rc = 0;
    c->failed = NULL;
    c->by_log = has_many(journals, later) && commit_log_begin(s->log);
    s->queue.many = c->by_log;
    c->whole = !c->by_log && files->dirty_closed;
    add_journals(c, journals);
    if (later)
        add_journals(c, later);
    if (s->queue.topics_dirty)
        add_dir(c, path_of("%s/topics", s->disk.root).s);
    if (s->queue.small_dirty)
        add_dir(c, path_of("%s/small", s->disk.root).s);
    s->queue.topics_dirty = s->queue.small_dirty = false;
    if (c->by_log)
        end_frame(c);
    /* A dirty file that was closed, now or by opening another one for this commit, is reached by a syncfs only. But
     * what goes by the log needs no sync of its file: then those that wait for another commit keep that for it. */
    if (!c->by_log) {
        c->whole = c->whole || files->dirty_closed;
        files->dirty_closed = false;
    }
    c->running = true;
    c->submitted_ns = clock_ns();
    commit_wait_begin(&s->queue.wait, c->submitted_ns);
    worker_submit(s->disk.worker, &c->job);
}

/* -- on the loop thread: afterwards ----------------------------------------------------------------------- */

/* The commit log could not be written: the next group commit goes by the file. */
static void journal_not_logged(struct journal *j)
{
    struct segment *seg = j->parts.active;
    if (seg)
        seg->file.dirty |= seg->written > seg->synced;
    journal_want_sync(j);
}

static void journal_committed(struct store *s, struct entry *e, bool log_failed)
{
    struct journal *j = e->journal;
    struct checkpoint *c = &e->checkpoint;
    struct marks *m = &j->marks;
    j->sync.committing = false;
    if (s->lost)
        return;
    if (e->logged && log_failed) {
        journal_not_logged(j);
        return;
    }
    if (e->active && e->synced > FILE_HEAD_SIZE)   /* the header of a file without batches may have changed since */
        e->active->synced = e->synced;
    if (e->logged && e->active == j->parts.active && e->synced > e->active->written)
        journal_hold(j);
    if (e->disk <= m->disk)
        return;
    m->disk = e->disk;
    if (m->written < m->disk)
        m->written = m->disk;
    bool current = e->has_checkpoint && j->parts.active && j->parts.active->first == c->first;
    if (current && c->position >= j->checkpoint.position + CHECKPOINT_EVERY) {
        journal_save_checkpoint(j, c);
        origins_grown(j);
    }
    if (m->disk == m->tail && list_alone(&j->sync.held))
        buf_fini(&j->pending);         /* an idle topic keeps no buffer */
    if (s->options.moved && j->owner)
        s->options.moved(j->owner, m->written, m->disk);
}

static void commit_done(struct job *job)
{
    struct group_commit *c = LIST_OWNER(job, struct group_commit, job);
    struct store *s = c->store;
    if (c->rc < 0)
        disk_failed(&s->disk, c->failed, s->disk.root, c->rc);
    hist_record(&s->stats.sync, c->took_ns);
    s->stats.syncs++;
    s->stats.synced_files += c->count;
    commit_wait_end(&s->queue.wait, clock_ns(), c->took_ns);
    c->running = false;
    if (c->lost)
        store_note_lost(s);
    if (c->by_log)
        commit_log_written(s->log, c->lost ? 0 : c->log_rc);
    for (unsigned i = 0; i < c->files; i++)
        c->segments[i]->file.pins--;
    for (size_t i = 0; i < c->count; i++)
        journal_committed(s, &c->entries[i], c->by_log && c->log_rc < 0);
    while (!list_empty(&c->sealing)) {
        struct segment *seg = list_first(&c->sealing, struct segment, sealing);
        list_remove(&seg->sealing);
        if (!s->lost)
            seal_submit(seg);
    }
    c->count = c->files = 0;
    buf_clear(&c->dirs);
}

/* -- life ------------------------------------------------------------------------------------------------- */

struct group_commit *group_commit_new(struct store *s)
{
    struct group_commit *c = MEM_NEW(struct group_commit);
    c->store = s;
    c->root_fd = s->disk.root_fd;
    c->lock_fd = s->disk.lock_fd;
    c->job = (struct job){.run = commit_run, .done = commit_done, .urgent = true};
    list_init(&c->sealing);
    return c;
}

void group_commit_free(struct group_commit *c)
{
    ENSURE(!c->running);
    mem_free(c->entries);
    buf_fini(&c->dirs);
    mem_free(c);
}

bool group_commit_running(const struct group_commit *c)
{
    return c->running;
}

uint64_t store_stalled_ns(const struct store *s)
{
    return s->commit->running ? clock_ns() - s->commit->submitted_ns : 0;
}
