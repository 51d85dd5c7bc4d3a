#include "store/replication/truncate.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/say.h"
#include "store/disk/io.h"
#include "store/log/append.h"
#include "store/log/delete_later.h"
#include "store/log/origins.h"
#include "store/log/sealed_file.h"
#include "store/log/segment_find.h"
#include "store/log/store_struct.h"
#include "store/replication/set_aside.h"
#include "store/replication/truncate_prepare.h"
#include "store/replication/truncate_shorten.h"

enum { COPY_STEP = 256 * KIB };

struct truncation {
    struct journal *journal;
    uint32_t index;        /* of the part that is the last one afterwards */
    struct place at;       /* where it ends then */
    struct scan scan;      /* of what stays of it */
    struct path kept;      /* where what goes is kept */
    bool prepared;         /* what goes of that part is in kept.part already */
};

/* -- finding the place, and reading what stays ------------------------------------------------------------ */

/* The batch that begins with offset at->offset, in a file that holds it. */
static int find_batch(struct journal *j, struct segment *seg, struct place *at)
{
    uint64_t to = at->offset;
    struct batch_head head;
    int rc = journal_find(j, seg, to, at);
    if (rc == 0)
        rc = segment_use(seg);
    if (rc < 0)
        return rc;
    struct walk w = walk_begin(seg, *at);
    rc = walk_head(&w, &head);
    if (rc <= 0)
        return rc < 0 ? rc : -ERR_DAMAGED;
    return at->offset == to ? 0 : -ERR_BAD_RANGE;
}

/* Finds the file that ends at t->at.offset; or else the one that begins there, to be left without batches; or else the
 * place in the middle of a file. */
static int find_place(struct truncation *t)
{
    struct journal *j = t->journal;
    struct segment *seg;
    uint64_t to = t->at.offset;
    struct part *part = part_of(&j->parts, to);
    ENSURE(part != NULL);
    t->index = (uint32_t)(part - j->parts.at);
    t->at.position = FILE_HEAD_SIZE;
    bool begins = part->first == to;
    if (begins && t->index == 0)
        return 0;
    int rc = part_segment(j, begins ? part - 1 : part, &seg);
    if (rc < 0)
        return rc;
    if (seg->next == to) {
        t->index -= begins;
        t->at.position = seg->size;
        return 0;
    }
    return begins ? 0 : find_batch(j, seg, &t->at);
}

/* Checks every batch that stays, and sums them up: the end record that the file will get needs the checksum. */
static int scan_rest(struct truncation *t, struct segment *seg)
{
    struct reader *reader = &t->journal->store->reader;
    struct batch_head head;
    const char *bytes;
    int rc = reader_init(reader, seg->file.fd);
    if (rc < 0)
        return rc;
    if (reader_get(reader, 0, FILE_HEAD_SIZE, &bytes) < FILE_HEAD_SIZE)
        return -ERR_DAMAGED;
    rc = file_head_check(seg->dir, bytes, seg->first);
    if (rc == 0)
        rc = scan_begin(reader, seg->first, &t->scan);
    while (rc == 0 && t->scan.position < t->at.position)
        if ((rc = scan_next(reader, &t->scan, &head, &bytes)) != SCAN_BATCH)
            rc = rc < 0 ? rc : -ERR_DAMAGED;
    if (rc < 0)
        return rc;
    return t->scan.position == t->at.position && t->scan.next == t->at.offset ? 0 : -ERR_DAMAGED;
}

/* The same for a sealed file of which nothing goes but its end record, which states the checksum. */
static int read_end(struct truncation *t, struct segment *seg)
{
    struct scan *s = &t->scan;
    *s = (struct scan){.position = t->at.position, .next = t->at.offset, .epoch = seg->epoch,
                       .time_ms = seg->time_last};
    return seg->ended ? part_end_crc(t->journal, &t->journal->parts.at[t->index], &s->crc) : -ERR_DAMAGED;
}

/* Whether damage is known of what stays of a file. */
static bool is_damaged(const struct journal *j, uint64_t first, uint64_t to)
{
    for (uint32_t i = 0; i < j->damage.count; i++) {
        const struct damaged_range *r = &j->damage.ranges[i];
        if (r->from < to && (r->to > first || r->from == first))
            return true;
    }
    return false;
}

static int check_rest(struct truncation *t, bool keep)
{
    struct journal *j = t->journal;
    struct segment *seg;
    int rc = part_segment(j, &j->parts.at[t->index], &seg);
    if (rc < 0)
        return rc;
    if (is_damaged(j, seg->first, t->at.offset))
        return -ERR_DAMAGED;
    t->prepared = keep && t->at.position > FILE_HEAD_SIZE && seg->written > TRUNCATE_AT_ONCE;
    if (!keep)
        rc = read_end(t, seg);
    else
        rc = t->prepared ? truncate_prepare_take(j, seg, t->at, &t->scan, &t->kept) : scan_rest(t, seg);
    if (rc == -ERR_DAMAGED) {
        journal_scan(j, seg);          /* so that the damage is known, and can be repaired */
        journal_note_damaged_file(j, seg);
    }
    return rc;
}

/* -- on the disk ------------------------------------------------------------------------------------------ */

static int unlink_if_exists(const char *path)
{
    return io.unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}

/* From step 3 on the journal cannot be what it was: an error ends the process. */
static void must(struct journal *j, const char *what, int rc)
{
    if (rc < 0)
        disk_failed(&j->store->disk, what, topic_path(&j->parts.dir).s, rc);
}

static void sync_dir(struct journal *j)
{
    must(j, "fsync of a directory", io_sync_dir(topic_path(&j->parts.dir).s));
}

/* Writes a checkpoint of a file that there is not. While there is one, what data/ends says of the topic does not
 * count. */
static int void_checkpoint_write(struct journal *j, const char *path)
{
    struct checkpoint none = {.sequence = ++j->checkpoint.sequence, .first = NUMBER_MAX, .oldest = UINT64_MAX};
    int rc = checkpoint_save(path, &none);
    int fd = rc < 0 ? rc : io.open(path, O_RDWR, 0);
    if (fd < 0)
        return rc < 0 ? rc : -errno;
    rc = io.sync_all(fd) < 0 ? -errno : 0;
    close(fd);
    return rc;
}

/* What it claims will not be there. */
static int uncheckpoint(struct journal *j)
{
    struct path path = path_of("%s/checkpoint", topic_path(&j->parts.dir).s);
    return j->store->has_ends ? void_checkpoint_write(j, path.s) : unlink_if_exists(path.s);
}

/* What an older data/ends says must not count after this: so the directory is on the disk before its checkpoint. */
static int own_dir(struct journal *j)
{
    bool moves = j->parts.dir.small;
    int rc = journal_own_dir(j);
    return moves && rc == 0 ? io_sync_dir(path_of("%s/topics", j->store->disk.root).s) : rc;
}

/* Steps 1 and 2, which can be undone: after an error no file has a second name, and nothing is kept. */
static int keep_and_uncheckpoint(struct truncation *t, bool keep)
{
    struct journal *j = t->journal;
    struct topic_dir *dir = &j->parts.dir;
    if (keep) {
        if (!t->prepared)
            t->kept = set_aside_path(dir, t->at.offset);
        int rc = set_aside_keep(j, t->index, t->at, t->kept.s, t->prepared);
        if (rc < 0)
            return rc;
    }
    int rc = uncheckpoint(j);
    if (rc < 0) {
        if (keep)
            disk_remove_dir(dir->disk, t->kept.s);
        return rc;
    }
    sync_dir(j);
    if (keep)
        say_warn("store", "history truncated topic=%s from=%" PRIu64 " messages=%" PRIu64 " copy=%s", dir->name,
                 t->at.offset, j->marks.tail - t->at.offset, t->kept.s);
    return 0;
}

static void remove_last_file(struct journal *j)
{
    static const enum file_kind kinds[] = {FILE_INDEX, FILE_SENDERS, FILE_ACTIVE, FILE_SEALED};
    uint64_t first = j->parts.at[j->parts.count - 1].first;
    parts_remove(&j->parts, j->parts.count - 1);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        must(j, "unlink", unlink_if_exists(file_path(&j->parts.dir, first, kinds[i]).s));
    sync_dir(j);
}

/* Calls a sealed file .qwal again. */
static void unseal(struct journal *j, struct part *part, struct segment *seg)
{
    struct path from = segment_path(seg);
    files_close(&j->store->disk.files, &seg->file);
    must(j, "unlink", unlink_if_exists(file_path(seg->dir, seg->first, FILE_INDEX).s));
    index_cache_remove(seg->dir->indexes, &seg->cached);
    seg->ended = seg->renamed = false;
    if (strcmp(from.s, segment_path(seg).s) != 0)
        must(j, "rename", io.rename(from.s, segment_path(seg).s) < 0 ? -errno : 0);
    sync_dir(j);
    part_resize(&j->parts, part, 0);
}

/* Makes a file with the first `size` bytes of this one. 0 or -errno. */
static int make_shorter(struct segment *seg, const char *path, uint64_t size)
{
    int rc = segment_use(seg);
    if (rc < 0)
        return rc;
    int fd = io.open(path, O_WRONLY | O_CREAT | O_TRUNC, 0640);
    if (fd < 0)
        return -errno;
    char *bytes = mem_new(COPY_STEP);
    for (uint64_t at = 0; rc == 0 && at < size;) {
        uint64_t left = size - at;
        ssize_t n = pread(seg->file.fd, bytes, left < COPY_STEP ? left : COPY_STEP, (off_t)at);
        rc = n > 0 ? io_write(fd, bytes, (size_t)n, at) : n == 0 ? -EIO : -errno;
        at += n > 0 ? (uint64_t)n : 0;
    }
    if (rc == 0 && io.sync_all(fd) < 0)
        rc = -errno;
    mem_free(bytes);
    close(fd);
    return rc;
}

/* A backup has the sealed files by hard links, and must not see what becomes of them. */
static bool is_linked(const struct segment *seg)
{
    struct stat st;
    return stat(segment_path(seg).s, &st) == 0 && st.st_nlink > 1;
}

/* -- in memory -------------------------------------------------------------------------------------------- */

static void lower_marks(struct journal *j, uint64_t to)
{
    struct marks *m = &j->marks;
    ENSURE(buf_size(&j->pending) == 0);    /* journal_settle saw to that */
    m->tail = m->written = m->disk = to;
    if (m->stated > to)
        m->stated = to;
    j->sync.settle_to = 0;
    list_remove(&j->sync.dirty);
    list_remove(&j->sync.unsynced);
    damage_keep(&j->damage, 0, to);
}

static void shorten_segment(struct segment *seg, const struct truncation *t)
{
    seg->next = t->at.offset;
    seg->size = seg->written = seg->synced = seg->space = t->at.position;
    seg->zeroed = 0;
    seg->epoch = t->scan.epoch;
    seg->time_last = t->scan.time_ms;
    seg->crc = t->scan.crc;
    seg->origins = t->scan.origins;
    seg->scanned = seg->preallocated = false;
    seg->last.offset = UINT64_MAX;
    segment_forget_hints(seg);
    index_truncate(&seg->cached.index, t->at.offset);
    seg->cached.complete |= seg->written < FILE_HEAD_SIZE + INDEX_EVERY;
}

/* Steps 3 and 4. */
static void apply(struct truncation *t)
{
    struct journal *j = t->journal;
    struct segment *seg, *before;
    while (j->parts.count > t->index + 1)
        remove_last_file(j);
    struct part *part = &j->parts.at[t->index];
    must(j, "open", part_segment(j, part, &seg));
    if (seg->ended)
        unseal(j, part, seg);
    if (t->at.position == FILE_HEAD_SIZE || is_linked(seg)) {
        struct path shorter = path_of("%s/cut", topic_path(seg->dir).s);
        must(j, "write", make_shorter(seg, shorter.s, t->at.position));
        files_close(&j->store->disk.files, &seg->file);
        must(j, "rename", io.rename(shorter.s, segment_path(seg).s) < 0 ? -errno : 0);
        sync_dir(j);
    } else {
        must(j, "truncate", truncate_shorten(j, seg, t->at.position));
    }
    shorten_segment(seg, t);
    j->parts.active = seg;
    lower_marks(j, t->at.offset);

    /* The last batch may be in the file before. */
    j->marks.epoch = t->scan.epoch;
    j->marks.time_ms = t->scan.time_ms;
    if (t->at.position == FILE_HEAD_SIZE && t->index > 0
        && part_segment(j, &j->parts.at[t->index - 1], &before) == 0) {
        j->marks.epoch = before->epoch;
        j->marks.time_ms = before->time_last;
    }
    seg->time_last = j->marks.time_ms;         /* files are searched by time, also those without batches */
    struct checkpoint now = journal_checkpoint(j);
    journal_save_checkpoint(j, &now);
    origins_truncated(j, t->at.offset);
}

/* -- the calls -------------------------------------------------------------------------------------------- */

/* Whether the truncation has to wait for the disk thread. This itself must not wait for the disk, because it may be
 * asked of many topics, again and again. */
static bool must_wait(const struct journal *j, uint64_t to)
{
    if (truncate_prepare_running(j, to))
        return true;
    const struct part *part = part_of(&j->parts, to);
    if (part->first == to && part > j->parts.at)
        part--;
    uint64_t size = part->segment ? part->segment->size : part->size;
    return size > TRUNCATE_AT_ONCE && truncate_prepare_elsewhere(j);
}

static int truncate_at(struct journal *j, uint64_t to, bool keep)
{
    struct truncation t = {.journal = j, .at.offset = to};
    if (keep && must_wait(j, to))
        return -ERR_BUSY;
    int rc = journal_settle(j);
    if (rc == 0)
        rc = own_dir(j);
    if (rc == 0)
        rc = find_place(&t);
    if (rc == 0)
        rc = check_rest(&t, keep);
    if (rc == -ERR_BUSY)
        return rc;
    background_stop(&j->background, JOURNAL_CHANGES);
    if (rc == 0)
        rc = keep_and_uncheckpoint(&t, keep);
    if (rc == 0)
        apply(&t);
    return rc == -ERR_FORMAT || rc == -ERR_TOPIC_EXISTS ? -ERR_DAMAGED : rc;
}

int journal_truncate(struct journal *j, uint64_t to, uint64_t *messages)
{
    if (to < journal_first(j) || to > j->marks.tail)
        return -ERR_BAD_RANGE;
    uint64_t count = j->marks.tail - to;
    int rc = count ? truncate_at(j, to, true) : 0;
    if (rc == 0)
        *messages = count;
    return rc;
}

bool journal_shortening(const struct journal *j)
{
    return j->shortening;
}

int journal_reopen(struct journal *j)
{
    return truncate_at(j, j->marks.tail, false);
}

static struct path in_trash(const struct disk *d, const char *set_aside, const char *suffix)
{
    return path_of("%s/trash%s%s", d->root, strrchr(set_aside, '/'), suffix);
}

/* Undoes set_aside_move. What was copied to another filesystem is in trash/. */
static void move_back(struct journal *j, const char *from, const char *to)
{
    struct disk *d = &j->store->disk;
    bool copied = io.rename(in_trash(d, to, "").s, from) == 0;
    if (copied)
        disk_remove_dir(d, to);
    else
        must(j, "rename", io.rename(to, from) < 0 ? -errno : 0);
}

int journal_restart(struct journal *j, uint64_t first, bool keep)
{
    struct topic_dir *dir = &j->parts.dir;
    struct disk *d = dir->disk;
    int rc = journal_settle(j);
    if (rc == 0)
        rc = journal_own_dir(j);
    if (rc < 0)
        return rc;
    struct path from = topic_path(dir), to = set_aside_path(dir, first), empty = in_trash(d, to.s, ".new");
    if (!keep)
        to = in_trash(d, to.s, "");
    if (io.mkdir(empty.s, 0750) < 0)
        return -errno;
    if (j->store->has_ends)
        rc = void_checkpoint_write(j, path_of("%s/checkpoint", empty.s).s);
    if (rc == 0 && j->store->has_ends)
        rc = io_sync_dir(empty.s);
    if (rc == 0)
        rc = keep ? set_aside_journal(j, &to) : io.rename(from.s, to.s) < 0 ? -errno : 0;
    if (rc < 0) {
        disk_remove_dir(d, empty.s);
        return rc;
    }
    background_stop(&j->background, JOURNAL_CHANGES);
    if (io.rename(empty.s, from.s) < 0) {
        rc = -errno;
        move_back(j, from.s, to.s);
        return rc;
    }
    const char *folder = keep ? "diverged" : "trash";
    must(j, "fsync of a directory", io_sync_dir(path_of("%s/%s", d->root, folder).s));
    must(j, "fsync of a directory", io_sync_dir(path_of("%s/topics", d->root).s));
    say_warn("store", "journal begun again topic=%s first=%" PRIu64 " was=%s", dir->name, first, to.s);

    parts_remove_all(&j->parts);
    j->oldest = UINT64_MAX;
    origins_drop(j);
    j->checkpoint.position = 0;
    j->checkpoint.clean = false;
    checkpointing_note(&j->checkpoint, NULL);
    j->next_file = PREALLOCATED_NONE;
    lower_marks(j, 0);
    j->marks.epoch = 0;
    j->marks.time_ms = 0;
    j->marks.tail = j->marks.written = j->marks.disk = first;
    rc = journal_begin_empty(j);
    if (rc < 0 && rc != -ENOSPC)       /* on a full disk the next append tries again */
        must(j, "write", rc);
    delete_later_trash(d);
    return 0;
}

int store_set_aside(struct store *s, slice name)
{
    struct disk *d = &s->disk;
    struct path from = path_of("%s/topics/%.*s", d->root, SLICE_ARGS(name));
    struct path to = path_of("%s/diverged/%.*s-%lld", d->root, SLICE_ARGS(name), (long long)clock_wall_ms());
    int rc = small_move(d, path_of("%.*s", SLICE_ARGS(name)).s);
    if (rc == 0)
        rc = set_aside_move(d, from.s, to.s);
    if (rc < 0)
        return rc;
    delete_later_trash(d);
    say_warn("store", "the directory of a topic that does not exist any more was set aside topic=%.*s to=%s",
             SLICE_ARGS(name), to.s);
    return io_sync_dir(path_of("%s/topics", d->root).s);
}
