#include "store/recovery/replay.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/say.h"
#include "store/disk/io.h"
#include "store/format/commit_record.h"
#include "store/log/store_struct.h"

/* A file of the log that was read. */
struct log_file {
    struct path path;
    bool exists, damaged;
    struct commit_head head;
    struct buf bytes;            /* owned: the whole file, while it is in use */
};

/* A record, and its place in the order of all. */
struct found {
    struct commit_record record;
    uint64_t order;
    bool *damaged;               /* of its file */
};

struct replay {
    struct store *store;
    struct log_file files[COMMIT_FILES];
    struct found *records;       /* owned */
    size_t count, cap;
    uint64_t topics, bytes;      /* files that were looked at; bytes that were written */
    struct buf scratch;
};

/* -- reading the log -------------------------------------------------------------------------------------- */

static int read_all(int fd, uint64_t size, struct buf *out)
{
    char *p = buf_reserve(out, size);
    for (uint64_t at = 0; at < size;) {
        ssize_t n = pread(fd, p + at, size - at, (off_t)at);
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        at += (uint64_t)n;
    }
    out->end += size;
    return 0;
}

static int check_head(const struct replay *r, const struct log_file *f, struct buf *why)
{
    const struct state *state = &r->store->disk.state;
    bool ours = id_eq(&f->head.cluster, &state->cluster) && id_eq(&f->head.incarnation, &state->incarnation);
    if (ours || r->store->last_run.state_lost)
        return 0;
    buf_addf(why, "%s is the commit log of another node or cluster: move it away, if it is here by mistake; it may "
             "hold the last messages of its node", f->path.s);
    return -ERR_FORMAT;
}

static void note_damage(struct log_file *f, uint64_t at)
{
    say_error("store", "%s is damaged at %" PRIu64 ": the last messages of topics may be lost, and the file is kept",
              f->path.s, at);
    f->damaged = true;
}

static int load_file(struct replay *r, struct log_file *f, struct buf *why)
{
    char block[COMMIT_HEAD_SIZE] = {0};
    struct stat st;
    int fd = open(f->path.s, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return 0;
    f->exists = true;
    int rc = fd < 0 || fstat(fd, &st) < 0 || pread(fd, block, sizeof block, 0) < 0 ? -errno : 0;
    if (rc == 0)
        rc = commit_head_read(block, &f->head);
    if (rc == -ERR_FORMAT) {
        buf_addf(why, "%s is of a newer version: this Lignum reads version %d", f->path.s, COMMIT_VERSION);
    } else if (rc == -ERR_DAMAGED) {
        note_damage(f, 0);
        rc = 0;
    } else if (rc == 0 && f->head.in_use) {
        rc = check_head(r, f, why);
        if (rc == 0)
            rc = read_all(fd, (uint64_t)st.st_size, &f->bytes);
    }
    if (rc < 0 && buf_size(why) == 0)
        buf_addf(why, "cannot read %s: %s", f->path.s, strerror(-rc));
    if (fd >= 0)
        close(fd);
    return rc;
}

static void note_frame(struct replay *r, struct log_file *f, struct commit_frame *frame)
{
    struct commit_record record;
    for (uint32_t i = 0; i < frame->count && commit_frame_next(frame, &record); i++) {
        if (r->count == r->cap) {
            r->cap = r->cap ? r->cap * 2 : 1024;
            r->records = mem_resize(r->records, r->cap * sizeof *r->records);
        }
        r->records[r->count] = (struct found){.record = record, .order = r->count, .damaged = &f->damaged};
        r->count++;
    }
}

static void read_frames(struct replay *r, struct log_file *f)
{
    slice all = buf_slice(&f->bytes);
    uint64_t bad = 0;            /* where a frame is not whole; 0: nowhere */
    for (uint64_t at = COMMIT_HEAD_SIZE; at < all.n;) {
        struct commit_frame frame;
        if (!commit_frame_read(slice_skip(all, at), f->head.seed, at, &frame)) {
            bad = bad ? bad : at;
            at += FRAME_ALIGN;
            continue;
        }
        if (bad) {
            note_damage(f, bad);
            bad = 0;
        }
        note_frame(r, f, &frame);
        at += commit_frame_space(frame.size);
    }
}

/* -- writing to the topics' files ------------------------------------------------------------------------- */

static int by_file(const void *a, const void *b)
{
    const struct found *x = a, *y = b;
    slice s = x->record.topic, t = y->record.topic;
    int names = memcmp(s.p, t.p, s.n < t.n ? s.n : t.n);
    if (names != 0)
        return names;
    if (s.n != t.n)
        return s.n < t.n ? -1 : 1;
    if (x->record.first != y->record.first)
        return x->record.first < y->record.first ? -1 : 1;
    return (x->order > y->order) - (x->order < y->order);
}

static bool is_same_file(const struct commit_record *a, const struct commit_record *b)
{
    return slice_eq(a->topic, b->topic) && a->first == b->first;
}

/* The topic's file, or -ENOENT. */
static int open_file(const struct replay *r, const struct commit_record *c, struct path *path)
{
    static const enum file_kind kinds[] = {FILE_ACTIVE, FILE_SEALED};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        *path = path_of("%s/topics/%.*s/%0*" PRIu64 "%s", r->store->disk.root, SLICE_ARGS(c->topic),
                        FILE_DIGITS, c->first, file_suffix[kinds[i]]);
        int fd = io.open(path->s, O_RDWR | O_CLOEXEC, 0);
        if (fd >= 0 || errno != ENOENT)
            return fd >= 0 ? fd : -errno;
    }
    *path = small_path(r->store->disk.root, path_of("%.*s", SLICE_ARGS(c->topic)).s);
    int fd = c->first == 0 ? io.open(path->s, O_RDWR | O_CLOEXEC, 0) : -1;
    return fd >= 0 ? fd : c->first == 0 ? -errno : -ENOENT;
}

/* Whether the file is that of the record's topic. Its header was on the disk before any frame named it; a header of
 * zeros is that of a file which was made later. */
static bool is_of_topic(const struct replay *r, const struct found *f, int fd, const char *path)
{
    static const char zeros[FILE_HEAD_SIZE];
    unsigned char in[FILE_HEAD_SIZE] = {0};
    struct file_head head;
    unsigned version;
    if (pread(fd, in, sizeof in, 0) < 0 || memcmp(in, zeros, sizeof in) == 0)
        return false;
    if (file_head_read(in, &head, &version) < 0) {
        say_error("store", "the header of %s is damaged: what the commit log has of it is not written to it, and the "
                  "log's file is kept", path);
        *f->damaged = true;
        return false;
    }
    return id_eq(&head.cluster, &r->store->disk.state.cluster) && head.topic.epoch == f->record.id.epoch
        && head.topic.offset == f->record.id.offset;
}

/* After a failed write the page cache does not say what is on the disk: then all is written. */
static int write_record(struct replay *r, int fd, const struct commit_record *c)
{
    slice bytes = c->bytes;
    buf_clear(&r->scratch);
    char *p = buf_reserve(&r->scratch, bytes.n);
    bool same = pread(fd, p, bytes.n, (off_t)c->position) == (ssize_t)bytes.n && memcmp(p, bytes.p, bytes.n) == 0;
    if (same && !r->store->last_run.io_failed)
        return 0;
    r->bytes += bytes.n;
    return io_write(fd, bytes.p, bytes.n, c->position);
}

/* Records [from, to) are of one file. */
static int write_file(struct replay *r, size_t from, size_t to, struct buf *why)
{
    struct path path;
    int fd = open_file(r, &r->records[from].record, &path);
    int rc = fd < 0 ? fd : 0;
    if (rc == 0)
        r->topics++;
    /* A file may have been made anew by another topic of the same name; all records of the newer one count then. */
    for (size_t i = from; rc == 0 && i < to; i++)
        if (is_of_topic(r, &r->records[i], fd, path.s))
            rc = write_record(r, fd, &r->records[i].record);
    if (fd >= 0)
        close(fd);
    if (rc == -ENOENT || rc == -ENOTDIR)
        return 0;
    if (rc < 0)
        buf_addf(why, "cannot write what the commit log has to %s: %s", path.s, strerror(-rc));
    return rc;
}

static int write_files(struct replay *r, struct buf *why)
{
    if (r->count > 1)
        qsort(r->records, r->count, sizeof *r->records, by_file);
    int rc = 0;
    for (size_t from = 0, to; rc == 0 && from < r->count; from = to) {
        for (to = from + 1; to < r->count && is_same_file(&r->records[from].record, &r->records[to].record);)
            to++;
        rc = write_file(r, from, to, why);
    }
    return rc;
}

/* -- the whole -------------------------------------------------------------------------------------------- */

/* Takes the log's files away, once all that they held is synced. */
static int remove_files(struct replay *r, struct buf *why)
{
    const char *root = r->store->disk.root;
    int rc = io.sync_fs(r->store->disk.root_fd) < 0 ? -errno : 0;
    for (int i = 0; rc == 0 && i < COMMIT_FILES; i++) {
        struct log_file *f = &r->files[i];
        if (f->exists && f->damaged)
            rc = io.rename(f->path.s, path_of("%s.damaged", f->path.s).s) < 0 ? -errno : 0;
        else if (f->exists)
            rc = io.unlink(f->path.s) < 0 ? -errno : 0;
    }
    if (rc == 0)
        rc = io_sync_dir(path_of("%s/commit", root).s);
    if (rc < 0)
        buf_addf(why, "cannot sync what %s/commit held: %s", root, strerror(-rc));
    return rc;
}

int commit_log_replay(struct store *s, struct buf *why)
{
    struct replay r = {.store = s};
    int rc = 0;
    bool any = false;
    for (int i = 0; rc == 0 && i < COMMIT_FILES; i++) {
        r.files[i].path = path_of("%s/commit/%d.log", s->disk.root, i);
        rc = load_file(&r, &r.files[i], why);
        any = any || r.files[i].exists;
    }
    bool first = r.files[0].head.use <= r.files[1].head.use;
    if (rc == 0 && any) {
        read_frames(&r, &r.files[!first]);
        read_frames(&r, &r.files[first]);
        rc = write_files(&r, why);
    }
    if (rc == 0 && any)
        rc = remove_files(&r, why);
    if (rc == 0 && r.count > 0)
        say_info("store", "commit log read records=%zu files=%" PRIu64 " bytes_written=%" PRIu64, r.count, r.topics,
                 r.bytes);
    for (int i = 0; i < COMMIT_FILES; i++)
        buf_fini(&r.files[i].bytes);
    mem_free(r.records);
    buf_fini(&r.scratch);
    return rc;
}
