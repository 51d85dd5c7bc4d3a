#include "store/recovery/recover.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/say.h"
#include "store/disk/io.h"
#include "store/log/append.h"
#include "store/log/store_struct.h"
#include "store/recovery/inspect.h"
#include "store/recovery/quarantine.h"
#include "store/recovery/unchanged.h"
#include "store/recovery/unfinished.h"

/* -- the directory ---------------------------------------------------------------------------------------- */

static int by_first(const void *a, const void *b)
{
    const struct found_file *x = a, *y = b;
    return (x->first > y->first) - (x->first < y->first);
}

/* Files that a crash kept from getting their names. */
static bool is_temporary(const char *name)
{
    return strcmp(name, "spare") == 0 || strcmp(name, "repair") == 0 || strcmp(name, "cut") == 0;
}

static void add_file(struct recovery *r, uint64_t first, const struct stat *st, bool sealed)
{
    r->linked = r->linked || st->st_nlink > 1;
    if ((r->count & (r->count - 1)) == 0)          /* 0 or a power of two: full */
        r->files = mem_resize(r->files, (r->count ? r->count * 2 : 1) * sizeof *r->files);
    r->files[r->count++] = (struct found_file){.first = first, .size = (uint64_t)st->st_size, .sealed = sealed};
}

static int list_small(struct recovery *r)
{
    struct stat st;
    if (stat(file_path(&r->journal->parts.dir, 0, FILE_ACTIVE).s, &st) < 0)
        return errno == ENOENT ? 0 : -errno;
    add_file(r, 0, &st, false);
    return 0;
}

static int list_files(struct recovery *r)
{
    struct path topic = topic_path(&r->journal->parts.dir);
    DIR *dir = opendir(topic.s);
    if (!dir)
        return -errno;
    for (struct dirent *e; (e = readdir(dir));) {
        uint64_t first;
        struct stat st;
        enum file_kind kind = file_name_read(e->d_name, &first);
        if (is_temporary(e->d_name))
            io.unlink(path_of("%s/%s", topic.s, e->d_name).s);
        if ((kind != FILE_ACTIVE && kind != FILE_SEALED) || fstatat(dirfd(dir), e->d_name, &st, 0) < 0)
            continue;
        add_file(r, first, &st, kind == FILE_SEALED);
    }
    closedir(dir);
    if (r->count > 1)
        qsort(r->files, r->count, sizeof *r->files, by_first);
    return 0;
}

/* -- what becomes of a file ------------------------------------------------------------------------------- */

/* Epoch and time of the last batch so far. */
static void note_last(struct journal *j, const struct segment *seg)
{
    if (seg->next == seg->first)
        return;
    j->marks.epoch = seg->epoch;
    j->marks.time_ms = seg->time_last;
}

/* Makes the file one of the journal's parts, which owns the segment from then on. */
static void hand_over(struct journal *j, struct found_file *f, uint64_t size)
{
    parts_add(&j->parts, f->first, size, f->segment);
    note_last(j, f->segment);
    f->segment = NULL;
}

/* Has its end record: completes what sealing does. */
static int finish_seal(struct journal *j, struct found_file *f)
{
    struct segment *seg = f->segment;
    int rc = journal_own_dir(j);
    struct path from = segment_path(seg);
    uint64_t size = seg->size + END_RECORD_SIZE;
    if (rc == 0)
        rc = segment_use(seg);
    if (rc < 0)
        return rc;
    if (io.truncate(seg->file.fd, (off_t)size) < 0 || io.sync_all(seg->file.fd) < 0)
        return -errno;
    seg->ended = seg->renamed = true;
    if (io.rename(from.s, segment_path(seg).s) < 0)
        return -errno;
    hand_over(j, f, size);
    return 0;
}

/* Has all batches up to the next file, only the end record is lost: writes it again. */
static int write_end(struct journal *j, struct found_file *f)
{
    struct segment *seg = f->segment;
    char end[END_RECORD_SIZE];
    struct batch_head like = segment_end_like(seg);
    end_record_write(end, &like, seg->crc);
    int rc = quarantine_tail(j, seg);
    if (rc == 0)
        rc = io_write(seg->file.fd, end, sizeof end, seg->size);
    return rc < 0 ? rc : finish_seal(j, f);
}

/* Is damaged: closes it as it is. Offsets below `until` are lost at least. */
static int close_damaged(struct recovery *r, struct found_file *f, uint64_t until)
{
    struct segment *seg = f->segment;
    struct journal *j = r->journal;
    int own = journal_own_dir(j);
    if (own < 0)
        return own;
    struct path from = segment_path(seg);
    uint64_t valid_to = seg->next;
    seg->ended = seg->renamed = true;
    if (io.rename(from.s, segment_path(seg).s) < 0)
        return -errno;
    hand_over(j, f, f->size);
    if (f->headless && damage_add(&j->damage, f->first, f->first))
        say_error("store", "damaged file header topic=%s file=%020" PRIu64, j->parts.dir.name, f->first);
    int rc = journal_scan(j, seg);
    if (rc < 0)
        return rc;
    note_last(j, seg);
    journal_note_missing(j, seg->next > valid_to ? seg->next : valid_to, until);
    r->tail = until > seg->next ? until : seg->next;
    return io_sync_dir(topic_path(&j->parts.dir).s);
}

/* Is not part of the history, as all files after it. */
static int quarantine_from(struct recovery *r, struct found_file *f)
{
    int rc = 0;
    for (; rc == 0 && f < r->files + r->count; f++) {
        struct segment *seg = f->segment;
        f->segment = NULL;
        rc = quarantine_file(r->journal, seg);
    }
    return rc;
}

/* Its header never reached the disk, and nothing in it was acknowledged: removes it if it holds only zeros. */
static int drop_headless(struct recovery *r, struct found_file *f)
{
    struct path path = segment_path(f->segment);
    struct reader reader = {0};
    uint64_t end = 0;
    int rc = segment_use(f->segment);
    if (rc == 0)
        rc = reader_init(&reader, f->segment->file.fd);
    if (rc == 0)
        rc = reader_last_byte(&reader, 0, &end);
    reader_fini(&reader);
    if (rc < 0 || end > 0)
        return rc < 0 ? rc : quarantine_from(r, f);
    segment_free(f->segment);
    f->segment = NULL;
    return io.unlink(path.s) < 0 ? -errno : quarantine_from(r, f + 1);
}

/* Is the active one. */
static int keep_active(struct recovery *r, struct found_file *f)
{
    struct journal *j = r->journal;
    int rc = f->end == SCAN_BAD ? quarantine_tail(j, f->segment) : 0;
    if (rc < 0)
        return rc;
    j->parts.active = f->segment;
    r->tail = f->segment->next;
    hand_over(j, f, 0);
    return 0;
}

/* -- the decision ----------------------------------------------------------------------------------------- */

static bool any_sealed_from(const struct recovery *r, const struct found_file *f)
{
    for (; f < r->files + r->count; f++)
        if (f->sealed)
            return true;
    return false;
}

/* Decides on a .qwal. 1: the files after it went to data/torn/; 0; or an error. */
static int decide(struct recovery *r, struct found_file *f)
{
    struct journal *j = r->journal;
    const struct found_file *next = is_last_file(r, f) ? NULL : f + 1;
    uint64_t end = f->segment->next;
    if (next && next->first < end) {
        say_error("store", "files overlap topic=%s file=%020" PRIu64, j->parts.dir.name, next->first);
        return -ERR_DAMAGED;
    }
    bool hole = next && next->first > end, sealed = f->end == SCAN_SEALED;
    bool bad_after_clean_stop = f->end == SCAN_BAD && j->store->last_run.clean;
    /* Whether more than the valid batches was acknowledged: later sealed files prove that the hole before them was. */
    bool lost = f->epoch_falls
        || ((hole || !next) && (r->disk > end || bad_after_clean_stop || any_sealed_from(r, f + 1)));
    r->tail = end;
    if (lost && !sealed)
        return close_damaged(r, f, next ? next->first : r->disk);

    int rc;
    if (sealed || (next && !hole)) {
        rc = sealed ? finish_seal(j, f) : write_end(j, f);
        if (rc < 0 || !hole)
            return rc;
        if (lost) {
            journal_note_missing(j, end, next->first);
            return 0;
        }
        rc = quarantine_from(r, f + 1);
        return rc < 0 ? rc : 1;
    }

    if (f->headless) {
        rc = drop_headless(r, f);
    } else {
        rc = keep_active(r, f);
        if (rc == 0 && next)
            rc = quarantine_from(r, f + 1);
    }
    return rc < 0 ? rc : next != NULL;
}

/* A .log is a part as it is. Only the last two are opened, to see whether the files are joined; holes before those are
 * found when they are read. */
static int accept_sealed(struct recovery *r, struct found_file *f)
{
    struct journal *j = r->journal;
    struct part *part = parts_add(&j->parts, f->first, f->size, NULL);
    bool last = is_last_file(r, f);
    r->tail = last ? f->first : f[1].first;
    if (f + 2 < r->files + r->count)
        return 0;
    struct segment *seg;
    int rc = part_segment(j, part, &seg);
    if (rc < 0)
        return rc;
    if (last)
        r->tail = seg->next > r->disk ? seg->next : r->disk;
    journal_note_missing(j, seg->next, r->tail);
    note_last(j, seg);
    return 0;
}

static int decide_all(struct recovery *r)
{
    for (size_t i = 0; i < r->count; i++) {
        struct found_file *f = &r->files[i];
        int rc = f->sealed ? accept_sealed(r, f) : decide(r, f);
        if (rc != 0)
            return rc < 0 ? rc : 0;
    }
    return 0;
}

static int set_marks(struct recovery *r)
{
    struct journal *j = r->journal;
    struct segment *seg = j->parts.active;
    if (seg && seg->next == seg->first)
        seg->time_last = j->marks.time_ms;     /* files are searched by time, also those without batches */
    if (r->count == 0) {
        journal_note_missing(j, 0, r->disk);
        r->tail = r->disk;
    }
    j->marks.tail = j->marks.written = j->marks.disk = r->tail;
    j->marks.stated = r->stated < r->tail ? r->stated : r->tail;
    if (seg)
        j->checkpoint.position = seg->written;
    if (seg || j->damage.count == 0)
        return 0;
    /* After damage the next file begins at once: its name keeps the lost offsets from being given out again. On a full
     * disk the next append tries again; until then the disk marks that batches state keep them. */
    int rc = journal_begin_empty(j);
    return rc == -ENOSPC ? 0 : rc;
}

/* Files at the beginning are missing that were there when the node stopped: somebody has removed them. After a crash
 * that is not known, because a checkpoint is not fsynced. It is no damage that keeps a node from leading: an operator
 * may have wanted the room. */
static void check_oldest(const struct recovery *r)
{
    struct journal *j = r->journal;
    uint64_t first = journal_first(j);
    if (!r->has_checkpoint || !j->store->last_run.clean || r->checkpoint.oldest >= first)
        return;
    say_error("store", "files are missing at the beginning, and retention has not removed them topic=%s from=%" PRIu64
              " to=%" PRIu64, j->parts.dir.name, r->checkpoint.oldest, first);
    j->oldest = r->checkpoint.oldest;
}

int journal_recover(struct journal *j)
{
    struct recovery r = {.journal = j};
    struct topic_dir *dir = &j->parts.dir;
    struct path path = path_of("%s/checkpoint", topic_path(dir).s);
    r.has_checkpoint = !dir->small && checkpoint_load(path.s, &r.checkpoint) == 0;
    if (r.has_checkpoint) {
        j->checkpoint.sequence = r.checkpoint.sequence;
        checkpointing_note(&j->checkpoint, &r.checkpoint);
    }
    r.has_checkpoint = r.has_checkpoint || checkpoint_of_end(j, &r.checkpoint);
    if (r.has_checkpoint) {
        r.disk = r.checkpoint.disk;
        r.stated = r.checkpoint.stated;
    }
    int rc = dir->small ? list_small(&r) : list_files(&r);
    if (rc == 0 && r.linked)
        rc = unfinished_links_remove(dir);
    if (rc == 0)
        rc = recovery_inspect(&r);
    if (rc == 0)
        rc = decide_all(&r);
    if (rc == 0)
        rc = set_marks(&r);
    if (rc == 0)
        check_oldest(&r);
    for (size_t i = 0; i < r.count; i++)
        if (r.files[i].segment)
            segment_free(r.files[i].segment);
    mem_free(r.files);
    if (rc < 0 && rc != -ERR_TOPIC_EXISTS)
        say_error("store", "cannot open topic=%s: %s", j->parts.dir.name, err_sentence(rc));
    return rc;
}
