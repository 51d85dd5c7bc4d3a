/*
 * Cutting: a follower's journal loses what the leader's history does not have.
 *
 * After a crash at any point the journal is the old one, the cut one, or the old one without some whole files at its
 * end, which is a history too. For that: 1. what goes is copied aside and synced; 2. the checkpoint goes, because it
 * claims more than will be there; 3. files go from the end backwards, each for good before the next; 4. the file that
 * is cut through is called .qwal again, so that no end record is missed in it, and truncated. One that loses all its
 * batches is kept as it is under its second name, in diverged/, and gives way to an empty one. Once step 2 is done an
 * error ends the process: the next start finds one of the above, and takes the second names of what is still there away
 * (set_aside.c).
 *
 * All that is done on the loop thread. Copying and syncing what goes of one file, and reading what stays of it, takes
 * long where the file is large: then that is done ahead, on the disk thread (truncate_prepare.c). But journal_reopen
 * reads the file at once: the shipment that wants it cannot wait.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/err.h"
#include "base/say.h"
#include "store/disk/io.h"
#include "store/format/scan.h"
#include "store/log/inner.h"
#include "store/replication/set_aside.h"
#include "store/replication/truncate_prepare.h"

struct truncation {
    struct journal *journal;
    uint32_t index;        /* of the part that is the last one afterwards */
    struct hint at;        /* where it ends then */
    struct scan scan;      /* of what stays of it */
    struct path kept;      /* where what goes is kept */
    bool ahead;            /* some of it is there already */
};

/* -- finding the place ------------------------------------------------------------------------------------ */

/* Where in this file does the batch of that offset begin? The head that stands there has to say so. */
static int truncate_find_batch(struct segment *seg, struct hint *at)
{
    uint64_t to = at->offset;
    struct batch_head head;
    int rc = segment_find(seg, to, at);
    if (rc == 0)
        rc = segment_use(seg);
    if (rc < 0)
        return rc;
    struct index_entry here = {.offset = at->offset, .position = at->position};
    struct walk w = walk_begin(seg, &here);
    rc = walk_head(&w, &head);
    if (rc <= 0)
        return rc < 0 ? rc : -ERR_DAMAGED;
    return at->offset == to ? 0 : -ERR_BAD_RANGE;
}

/* The file that ends there, or else the one that begins there, without batches. */
static int truncate_find(struct truncation *c)
{
    struct journal *j = c->journal;
    struct segment *seg;
    uint64_t to = c->at.offset;
    struct part *part = part_of(j, to);
    ENSURE(part != NULL);
    c->index = (uint32_t)(part - j->parts);
    c->at.position = FILE_HEAD_SIZE;
    bool begins = part->first == to;
    if (begins && c->index == 0)
        return 0;
    int rc = part_segment(j, begins ? part - 1 : part, &seg);
    if (rc < 0)
        return rc;
    if (seg->next == to) {
        c->index -= begins;
        c->at.position = seg->size;
        return 0;
    }
    return begins ? 0 : truncate_find_batch(seg, &c->at);
}

/* What stays of the file must be sound: its checksum is needed for the end record that it will get. */
static int truncate_scan_file(struct truncation *c, struct segment *seg)
{
    struct journal *j = c->journal;
    struct reader *reader = &j->store->reader;
    struct batch_head head;
    const char *bytes;
    int rc = reader_init(reader, seg->file.fd);
    if (rc < 0)
        return rc;
    if (reader_get(reader, 0, FILE_HEAD_SIZE, &bytes) < FILE_HEAD_SIZE)
        return -ERR_DAMAGED;
    rc = file_head_check(j, bytes, seg->first);
    if (rc == 0)
        rc = scan_begin(reader, seg->first, &c->scan);
    while (rc == 0 && c->scan.position < c->at.position)
        if ((rc = scan_next(reader, &c->scan, &head, &bytes)) != SCAN_BATCH)
            rc = rc < 0 ? rc : -ERR_DAMAGED;
    if (rc < 0)
        return rc;
    return c->scan.position == c->at.position && c->scan.next == c->at.offset ? 0 : -ERR_DAMAGED;
}

/* Is there so much to read and to copy that the loop should not wait for it? */
static bool truncate_is_large(const struct truncation *c, const struct segment *seg)
{
    return c->at.position > FILE_HEAD_SIZE && seg->written > TRUNCATE_AT_ONCE;
}

static int truncate_scan(struct truncation *c, bool keep)
{
    struct segment *seg = NULL;
    int rc = part_segment(c->journal, &c->journal->parts[c->index], &seg);
    c->ahead = rc == 0 && keep && truncate_is_large(c, seg);
    if (c->ahead)
        rc = prepare_take(seg, c->at, &c->scan, &c->kept);
    else if (rc == 0)
        rc = truncate_scan_file(c, seg);
    if (rc != -ERR_DAMAGED || seg == NULL)
        return rc;
    damage_scan(seg);                  /* so that it is known, and mended */
    damage_note_file(seg);
    return rc;
}

/* -- on the disk ------------------------------------------------------------------------------------------ */

static int unlink_if_there(const char *path)
{
    return io.unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}

/* From here on the journal cannot be what it was: an error is the end. */
static void truncate_must(struct journal *j, const char *what, int rc)
{
    if (rc < 0)
        disk_failed(&j->store->disk, what, topic_path(j).s, rc);
}

static int truncate_checkpoint(struct journal *j)
{
    int rc = unlink_if_there(path_of("%s/checkpoint", topic_path(j).s).s);
    if (rc == 0)
        truncate_must(j, "fsync of a directory", io_sync_dir(topic_path(j).s));
    return rc;
}

static void truncate_remove_last(struct journal *j)
{
    struct part *part = &j->parts[j->parts_count - 1];
    bool active = part->segment && part->segment == j->active;
    static const enum file_kind kinds[] = {FILE_INDEX, FILE_ACTIVE, FILE_SEALED};
    if (part->segment)
        segment_free(part->segment);
    part->segment = NULL;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        truncate_must(j, "unlink", unlink_if_there(file_path(j, part->first, kinds[i]).s));
    truncate_must(j, "fsync of a directory", io_sync_dir(topic_path(j).s));
    if (active)
        j->active = NULL;
    else
        j->bytes_sealed -= part->size;
    j->parts_count--;
}

/* Makes a sealed file one that is written. */
static void truncate_unseal(struct journal *j, struct segment *seg)
{
    struct part *part = &j->parts[j->parts_count - 1];
    struct path from = segment_path(seg);
    files_close(&j->store->disk.files, &seg->file);
    truncate_must(j, "unlink", unlink_if_there(file_path(j, seg->first, FILE_INDEX).s));
    index_cache_forget(seg);
    seg->ended = seg->renamed = false;
    if (strcmp(from.s, segment_path(seg).s) != 0)
        truncate_must(j, "rename", io.rename(from.s, segment_path(seg).s) < 0 ? -errno : 0);
    truncate_must(j, "fsync of a directory", io_sync_dir(topic_path(j).s));
    j->bytes_sealed -= part->size;
    part->size = 0;
}

static void truncate_last(struct journal *j, struct segment *seg, uint64_t size)
{
    truncate_must(j, "open", segment_use(seg));
    truncate_must(j, "truncate", io.truncate(seg->file.fd, (off_t)size) < 0 ? -errno : 0);
    truncate_must(j, "fsync", io.sync_all(seg->file.fd) < 0 ? -errno : 0);
}

static int make_empty(struct segment *seg, const char *path)
{
    char head[FILE_HEAD_SIZE];
    int rc = segment_use(seg);
    if (rc < 0)
        return rc;
    if (pread(seg->file.fd, head, sizeof head, 0) != sizeof head)
        return -EIO;
    int fd = io.open(path, O_WRONLY | O_CREAT | O_TRUNC, 0640);
    if (fd < 0)
        return -errno;
    rc = io_write(fd, head, sizeof head, 0);
    if (rc == 0 && io.sync_all(fd) < 0)
        rc = -errno;
    close(fd);
    return rc;
}

/* A file with the same header, and nothing else, takes its name. */
static void truncate_empty(struct journal *j, struct segment *seg)
{
    struct path empty = path_of("%s/cut", topic_path(j).s);
    truncate_must(j, "write", make_empty(seg, empty.s));
    files_close(&j->store->disk.files, &seg->file);
    truncate_must(j, "rename", io.rename(empty.s, segment_path(seg).s) < 0 ? -errno : 0);
    truncate_must(j, "fsync of a directory", io_sync_dir(topic_path(j).s));
}

/* -- in memory -------------------------------------------------------------------------------------------- */

static void marks_truncate(struct journal *j, uint64_t to)
{
    j->tail = j->written = j->disk = to;
    if (j->stated > to)
        j->stated = to;
    list_remove(&j->dirty);
    list_remove(&j->unsynced);
    damage_keep(j, 0, to);
}

static void segment_truncate(struct segment *seg, const struct truncation *c)
{
    seg->next = c->at.offset;
    seg->size = seg->written = seg->space = c->at.position;
    seg->epoch = c->scan.epoch;
    seg->time_last = c->scan.time_ms;
    seg->crc = c->scan.crc;
    seg->scanned = seg->preallocated = false;
    seg->last = (struct hint){.offset = UINT64_MAX};
    memset(seg->hints, 0, sizeof seg->hints);
    index_truncate(&seg->index, c->at.offset);
}

/* Epoch and time of the batch before the cut, which may stand in the file before. */
static void note_last_batch(struct journal *j, const struct truncation *c)
{
    struct segment *before;
    j->epoch = c->scan.epoch;
    j->time_ms = c->scan.time_ms;
    if (c->at.position == FILE_HEAD_SIZE && c->index > 0 && part_segment(j, &j->parts[c->index - 1], &before) == 0) {
        j->epoch = before->epoch;
        j->time_ms = before->time_last;
    }
    j->active->time_last = j->time_ms;         /* files are searched by time */
}

static void truncate_apply(struct truncation *c)
{
    struct journal *j = c->journal;
    struct segment *seg;
    while (j->parts_count > c->index + 1)
        truncate_remove_last(j);
    truncate_must(j, "open", part_segment(j, &j->parts[c->index], &seg));
    if (seg->ended)
        truncate_unseal(j, seg);
    if (c->at.position == FILE_HEAD_SIZE)
        truncate_empty(j, seg);
    else
        truncate_last(j, seg, c->at.position);
    segment_truncate(seg, c);
    j->active = seg;
    marks_truncate(j, c->at.offset);
    note_last_batch(j, c);
    struct checkpoint now = journal_checkpoint(j);
    journal_save_checkpoint(j, &now);
}

/* -- the calls -------------------------------------------------------------------------------------------- */

/* All that can still be undone: after an error the journal is what it was, and has no file in common with a copy. */
static int truncate_prepare(struct truncation *c, bool keep)
{
    struct journal *j = c->journal;
    if (!c->ahead)
        c->kept = set_aside_path(j, c->at.offset);
    int rc = keep ? set_aside_keep(j, c->index, c->at, c->kept.s, c->ahead) : 0;
    if (rc < 0)
        return rc;
    rc = truncate_checkpoint(j);
    if (rc < 0 && keep)
        disk_remove_dir(&j->store->disk, c->kept.s);
    else if (keep)
        say_warn("store", "history cut off topic=%s from=%" PRIu64 " messages=%" PRIu64 " copy=%s", j->name,
                 c->at.offset, j->tail - c->at.offset, c->kept.s);
    return rc;
}

/* Whether there is nothing to be done yet: to find that out must not wait for the disk, as it may be asked for many
 * topics, again and again. */
static bool truncate_has_to_wait(const struct journal *j, uint64_t to)
{
    if (prepare_running(j, to))
        return true;
    const struct part *part = part_of(j, to);
    if (part->first == to && part > j->parts)
        part--;
    return prepare_of_another(j) && (part->segment ? part->segment->size : part->size) > TRUNCATE_AT_ONCE;
}

static int truncate_at(struct journal *j, uint64_t to, bool keep)
{
    struct truncation c = {.journal = j, .at.offset = to};
    if (keep && truncate_has_to_wait(j, to))
        return -ERR_BUSY;
    store_sync_all(j->store);
    audit_cancel(j);
    int rc = truncate_find(&c);
    if (rc == 0)
        rc = truncate_scan(&c, keep);
    if (rc != -ERR_BUSY)
        prepare_cancel(j);
    if (rc == 0)
        rc = truncate_prepare(&c, keep);
    if (rc == 0)
        truncate_apply(&c);
    return rc == -ERR_FORMAT || rc == -ERR_TOPIC_EXISTS ? -ERR_DAMAGED : rc;
}

int journal_truncate(struct journal *j, uint64_t to, uint64_t *messages)
{
    if (to < journal_first(j) || to > j->tail)
        return -ERR_BAD_RANGE;
    uint64_t count = j->tail - to;
    int rc = count ? truncate_at(j, to, true) : 0;
    if (rc == 0)
        *messages = count;
    return rc;
}

int journal_reopen(struct journal *j)
{
    return truncate_at(j, j->tail, false);
}

/* Moves the whole directory away and makes an empty one. */
static int restart_move(struct journal *j, const char *to, bool keep)
{
    struct path from = topic_path(j);
    int rc = 0;
    if (keep)
        rc = set_aside_move(j->store, from.s, to);
    else if (io.rename(from.s, to) < 0)
        rc = -errno;
    if (rc < 0 || io.mkdir(from.s, 0750) == 0)
        return rc;
    rc = -errno;
    truncate_must(j, "rename", io.rename(to, from.s) < 0 ? -errno : 0);
    return rc;
}

static void restart_forget(struct journal *j, uint64_t first)
{
    for (uint32_t i = 0; i < j->parts_count; i++)
        if (j->parts[i].segment)
            segment_free(j->parts[i].segment);
    j->parts_count = 0;
    j->active = NULL;
    j->bytes_sealed = j->epoch = j->checkpoint_position = 0;
    j->time_ms = 0;
    j->checkpoint_clean = false;
    j->preallocated = PREALLOCATE_NONE;
    marks_truncate(j, 0);
    j->tail = j->written = j->disk = first;
}

int journal_restart(struct journal *j, uint64_t first, bool keep)
{
    struct store *s = j->store;
    store_sync_all(s);
    audit_cancel(j);
    prepare_cancel(j);
    struct path to = keep ? set_aside_path(j, first)
                          : path_of("%s/trash/%s-%" PRIu64 "-%lld", s->disk.root, j->name, first,
                                    (long long)clock_wall_ms());
    int rc = restart_move(j, to.s, keep);
    if (rc < 0)
        return rc;
    const char *folder = keep ? "diverged" : "trash";
    truncate_must(j, "fsync of a directory", io_sync_dir(path_of("%s/%s", s->disk.root, folder).s));
    truncate_must(j, "fsync of a directory", io_sync_dir(path_of("%s/topics", s->disk.root).s));
    say_warn("store", "journal begun again topic=%s first=%" PRIu64 " was=%s", j->name, first, to.s);
    restart_forget(j, first);
    rc = journal_begin_empty(j);
    if (rc < 0 && rc != -ENOSPC)       /* a full disk: the next append tries again */
        truncate_must(j, "write", rc);
    delete_later_trash(s);
    return 0;
}
