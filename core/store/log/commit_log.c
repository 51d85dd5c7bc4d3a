#include "store/log/commit_log.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "base/say.h"
#include "store/disk/io.h"
#include "store/format/commit_record.h"
#include "store/log/journal_struct.h"
#include "store/log/store_struct.h"
#include "store/log/write.h"
#include "store/log/zero_ahead.h"

enum { FRAME_KEPT = 256 * KIB };     /* of the buffer, from one group commit to the next */

struct commit_file {
    int fd;                      /* -1: there is no file yet */
    struct commit_head head;     /* of this use; use 0: free */
    uint64_t end;                /* where the next frame goes */
    uint64_t zeroed;             /* see zero_ahead.h; of the disk thread */
    bool head_written;
    uint64_t begun_ns;           /* when it was taken into use */
};

struct commit_log {
    struct store *store;         /* outlives us */
    struct commit_file files[COMMIT_FILES];
    unsigned current;            /* index */
    uint64_t uses;               /* how often a file was taken into use */
    bool release;                /* somebody waits until no file is in use */
    uint64_t refused_ns;         /* when a write failed; 0: it did not */
    struct buf frame;            /* that is being built or written */
    uint32_t records;            /* in it */
    /* the job that retires the other file */
    struct job job;
    bool retiring;
    bool writing;                /* topics' files have yet to be written before it is submitted */
    int rc;
    const char *failed;          /* the call that failed */
};

static struct commit_file *current(struct commit_log *l)
{
    return &l->files[l->current];
}

static struct commit_file *other(struct commit_log *l)
{
    return &l->files[1 - l->current];
}

static struct path file_path_of(const struct commit_log *l, const struct commit_file *f)
{
    return path_of("%s/commit/%d.log", l->store->disk.root, (int)(f - l->files));
}

/* -- the frame of a group commit, on the loop thread ------------------------------------------------------ */

bool commit_log_begin(struct commit_log *l)
{
    if (l->refused_ns && clock_ns() - l->refused_ns < COMMIT_LOG_RETRY_MS * NS_PER_MS)
        return false;
    commit_frame_begin(&l->frame);
    l->records = 0;
    return true;
}

bool commit_log_add(struct commit_log *l, struct journal *j)
{
    struct segment *seg = j->parts.active;
    const struct commit_file *f = current(l);
    uint64_t end = f->head.use > 0 ? f->end : COMMIT_HEAD_SIZE;
    struct commit_record r = {
        .topic = slice_from(j->parts.dir.name), .id = j->parts.dir.id, .first = seg->first, .position = seg->synced,
        .bytes.n = (size_t)(seg->size - seg->synced),
    };
    uint64_t in_file = seg->written > seg->synced ? seg->written - seg->synced : 0;   /* of them */
    size_t size = buf_size(&l->frame) + commit_record_size(r.topic, r.bytes.n);
    if (size > COMMIT_FRAME_MAX || end + commit_frame_space(size) > COMMIT_FILE_SIZE)
        return false;
    char *to = commit_frame_add(&l->frame, &r);
    if (in_file > 0 && segment_use(seg) < 0)
        return false;
    if (in_file > 0 && pread(seg->file.fd, to, in_file, (off_t)seg->synced) != (ssize_t)in_file)
        return false;
    uint64_t held = seg->synced > seg->written ? seg->synced - seg->written : 0;
    slice rest = slice_skip(buf_slice(&j->pending), held);
    ENSURE(rest.n == r.bytes.n - in_file);
    memcpy(to + in_file, rest.p, rest.n);
    l->records++;
    return true;
}

uint64_t commit_log_take(struct commit_log *l)
{
    struct commit_file *f = current(l);
    if (f->head.use == 0) {
        const struct state *state = &l->store->disk.state;
        struct id seed = id_mint();
        f->head = (struct commit_head){.in_use = true, .cluster = state->cluster, .incarnation = state->incarnation,
                                       .use = ++l->uses};
        memcpy(&f->head.seed, seed.bytes, sizeof f->head.seed);
        f->end = COMMIT_HEAD_SIZE;
        f->head_written = false;
        f->begun_ns = clock_ns();
    }
    return f->head.use;
}

void commit_log_drop(struct commit_log *l)
{
    if (l->frame.cap > FRAME_KEPT)
        buf_fini(&l->frame);
    buf_clear(&l->frame);
    l->records = 0;
}

/* -- on the disk thread ----------------------------------------------------------------------------------- */

static int make_file(struct commit_log *l, struct commit_file *f)
{
    struct path path = file_path_of(l, f);
    int fd = io.open(path.s, O_RDWR | O_CREAT | O_TRUNC, 0640);
    if (fd < 0)
        return -errno;
    int rc = -io.allocate(fd, 0, COMMIT_FILE_SIZE);
    if (rc == 0)
        rc = io_sync_dir(path_of("%s/commit", l->store->disk.root).s);
    if (rc < 0) {
        io.unlink(path.s);
        close(fd);
        return rc;
    }
    f->fd = fd;
    f->zeroed = 0;
    return 0;
}

static int write_head(const struct commit_file *f, bool in_use)
{
    struct commit_head head = f->head;
    head.in_use = in_use;
    char block[COMMIT_HEAD_SIZE];
    commit_head_write(block, &head);
    return io_write(f->fd, block, sizeof block, 0);
}

int commit_log_write(struct commit_log *l, const char **what)
{
    struct commit_file *f = current(l);
    int rc = f->fd < 0 ? make_file(l, f) : 0;
    if (rc == 0 && !f->head_written)
        rc = write_head(f, true);
    commit_frame_finish(&l->frame, l->records, f->head.seed, f->end);
    if (rc == 0)
        rc = io_write(f->fd, l->frame.data + l->frame.at, buf_size(&l->frame), f->end);
    if (rc < 0)
        return rc;
    uint64_t bytes = buf_size(&l->frame);
    zero_ahead(&l->store->disk, f->fd, &f->zeroed, bytes, f->end + bytes, COMMIT_FILE_SIZE);
    if (io.sync_data(f->fd) < 0)
        return *what = "fdatasync", -errno;
    return file_is_lost(f->fd);
}

static void retire_run(struct job *job)
{
    struct commit_log *l = LIST_OWNER(job, struct commit_log, job);
    struct commit_file *f = other(l);
    l->rc = 0;
    if (io.sync_fs(l->store->disk.root_fd) < 0) {
        l->failed = "syncfs";
        l->rc = -errno;
    } else if (f->fd >= 0 && ((l->rc = write_head(f, false)) < 0 || io.sync_data(f->fd) < 0)) {
        l->failed = l->rc < 0 ? "write" : "fdatasync";
        l->rc = l->rc < 0 ? l->rc : -errno;
    }
}

/* -- on the loop thread, afterwards ----------------------------------------------------------------------- */

void commit_log_written(struct commit_log *l, int rc)
{
    struct commit_file *f = current(l);
    if (rc >= 0) {                     /* else the next frame goes there, and leaves no gap for a start to find */
        f->end += commit_frame_space(buf_size(&l->frame));
        f->head_written = true;
    }
    commit_log_drop(l);
    if (rc < 0 && l->refused_ns == 0)
        say_warn("store", "cannot write to the commit log in %s/commit: %s (the topics' files are synced instead)",
                 l->store->disk.root, strerror(-rc));
    l->refused_ns = rc < 0 ? clock_ns() : 0;
}

static void retire_done(struct job *job)
{
    struct commit_log *l = LIST_OWNER(job, struct commit_log, job);
    if (l->rc < 0)
        disk_failed(&l->store->disk, l->failed, file_path_of(l, other(l)).s, l->rc);
    l->retiring = false;
    other(l)->head.use = 0;
    if (current(l)->head.use == 0)
        l->release = false;
}

static uint64_t due_ns(const struct commit_log *l, const struct commit_file *f)
{
    int64_t age_ms = l->store->options.commit_log_age_ms;
    return f->begun_ns + (uint64_t)(age_ms > 0 ? age_ms : COMMIT_LOG_AGE_MS) * NS_PER_MS;
}

void commit_log_tend(struct commit_log *l, uint64_t now_ns)
{
    struct commit_file *f = current(l);
    if (l->retiring || f->head.use == 0)
        return;
    if (!l->release && now_ns < due_ns(l, f) && f->end + COMMIT_FRAME_MAX <= COMMIT_FILE_SIZE)
        return;
    l->current = 1 - l->current;
    l->retiring = l->writing = true;
    list_push(&l->store->queue.held, &l->store->queue.held_mark);
}

void commit_log_write_files(struct commit_log *l)
{
    struct store *s = l->store;
    if (!l->writing && s->queue.held_bytes > COMMIT_HELD_MAX)
        store_write_held(s, false, COMMIT_WRITTEN_MAX);
    if (!l->writing || !store_write_held(s, true, COMMIT_WRITTEN_MAX))
        return;
    list_remove(&s->queue.held_mark);
    l->writing = false;
    worker_submit(s->disk.worker, &l->job);
}

bool commit_log_writes_files(const struct commit_log *l)
{
    return l->writing;
}

uint64_t commit_log_deadline_ns(const struct commit_log *l)
{
    const struct commit_file *f = &l->files[l->current];
    if (l->retiring || f->head.use == 0)
        return 0;
    return l->release ? 1 : due_ns(l, f);
}

bool commit_log_holds(const struct commit_log *l, const struct journal *j)
{
    for (unsigned i = 0; i < COMMIT_FILES; i++)
        if (l->files[i].head.use > 0 && l->files[i].head.use <= j->sync.logged)
            return true;
    return false;
}

void commit_log_release(struct commit_log *l)
{
    l->release = true;
}

/* -- life ------------------------------------------------------------------------------------------------- */

struct commit_log *commit_log_new(struct store *s)
{
    struct commit_log *l = MEM_NEW(struct commit_log);
    l->store = s;
    l->job = (struct job){.run = retire_run, .done = retire_done, .slow = true};
    for (unsigned i = 0; i < COMMIT_FILES; i++)
        l->files[i].fd = -1;
    return l;
}

int commit_log_close(struct commit_log *l)
{
    bool any = false;
    ENSURE(!l->retiring);
    for (unsigned i = 0; i < COMMIT_FILES; i++) {
        struct commit_file *f = &l->files[i];
        if (f->fd < 0)
            continue;
        if (io.unlink(file_path_of(l, f).s) < 0 && errno != ENOENT)
            return -errno;
        f->head.use = 0;
        any = true;
    }
    int rc = any ? io_sync_dir(path_of("%s/commit", l->store->disk.root).s) : 0;
    return rc == -ENOENT ? 0 : rc;     /* the directory was removed */
}

void commit_log_free(struct commit_log *l)
{
    ENSURE(!l->retiring);
    for (unsigned i = 0; i < COMMIT_FILES; i++)
        if (l->files[i].fd >= 0)
            close(l->files[i].fd);
    buf_fini(&l->frame);
    mem_free(l);
}
