#include "store/recovery/recover.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/say.h"
#include "store/disk/io.h"
#include "store/format/scan.h"
#include "store/replication/set_aside.h"

/* -- the directory ---------------------------------------------------------------------------------------- */

static void add_file(struct recovery *r, const char *name, int dir_fd)
{
    uint64_t first;
    struct stat st;
    enum file_kind kind = file_name_read(name, &first);
    if (kind != FILE_ACTIVE && kind != FILE_SEALED)
        return;
    if (fstatat(dir_fd, name, &st, 0) < 0)
        return;
    r->linked = r->linked || st.st_nlink > 1;
    if ((r->count & (r->count - 1)) == 0)
        r->files = mem_resize(r->files, (r->count ? r->count * 2 : 1) * sizeof *r->files);
    r->files[r->count++] = (struct found){.first = first, .size = (uint64_t)st.st_size, .sealed = kind == FILE_SEALED};
}

static int by_first(const void *a, const void *b)
{
    const struct found *x = a, *y = b;
    return (x->first > y->first) - (x->first < y->first);
}

/* Files that were on their way to another name. */
static bool is_leftover(const char *name)
{
    return strcmp(name, "spare") == 0 || strcmp(name, "repair") == 0 || strcmp(name, "cut") == 0;
}

static int list_files(struct recovery *r)
{
    DIR *dir = opendir(topic_path(r->journal).s);
    if (!dir)
        return -errno;
    for (struct dirent *e; (e = readdir(dir));) {
        if (is_leftover(e->d_name))
            io.unlink(path_of("%s/%s", topic_path(r->journal).s, e->d_name).s);
        add_file(r, e->d_name, dirfd(dir));
    }
    closedir(dir);
    if (r->count > 1)
        qsort(r->files, r->count, sizeof *r->files, by_first);
    return 0;
}

/* -- the judgement ---------------------------------------------------------------------------------------- */

/* Epoch and time never fall, so those of the last batch are kept. */
static void note_last(struct journal *j, const struct segment *seg)
{
    if (seg->next == seg->first)
        return;
    j->epoch = seg->epoch;
    j->time_ms = seg->time_last;
}

/* Makes the segment one of the journal's parts, which then owns it. */
static void hand_over(struct journal *j, struct found *f, uint64_t size)
{
    part_add(j, f->first, size, f->segment);
    note_last(j, f->segment);
    f->segment = NULL;
    j->bytes_sealed += size;
}

static int finish_seal(struct journal *j, struct found *f)
{
    struct segment *seg = f->segment;
    struct path from = segment_path(seg);
    int rc = segment_use(seg);
    if (rc < 0)
        return rc;
    if (io.truncate(seg->file.fd, (off_t)(seg->size + END_RECORD_SIZE)) < 0 || io.sync_all(seg->file.fd) < 0)
        return -errno;
    seg->ended = seg->renamed = true;
    if (io.rename(from.s, segment_path(seg).s) < 0)
        return -errno;
    hand_over(j, f, seg->size + END_RECORD_SIZE);
    return 0;
}

/* All batches are there and the next file goes on from them: only the end record got lost. */
static int write_end_again(struct journal *j, struct found *f)
{
    struct segment *seg = f->segment;
    char end[END_RECORD_SIZE];
    struct batch_head like = {.first = seg->next, .epoch = seg->epoch, .time_ms = seg->time_last};
    end_record_write(end, &like, seg->crc);
    int rc = quarantine_tail(seg);
    if (rc == 0)
        rc = io_write(seg->file.fd, end, sizeof end, seg->size);
    return rc < 0 ? rc : finish_seal(j, f);
}

/* Closes a damaged file as it is. `until`: at least these offsets are lost. */
static int quarantine(struct recovery *r, struct found *f, uint64_t until)
{
    struct segment *seg = f->segment;
    struct journal *j = r->journal;
    struct path from = segment_path(seg);
    uint64_t valid_to = seg->next;
    seg->ended = seg->renamed = true;
    if (io.rename(from.s, segment_path(seg).s) < 0)
        return -errno;
    hand_over(j, f, f->size);
    if (f->headless && damage_add(j, f->first, f->first))
        say_error("store", "damaged file header topic=%s file=%020" PRIu64, j->name, f->first);
    int rc = segment_scan(seg);
    if (rc < 0)
        return rc;
    note_last(j, seg);
    uint64_t lost = seg->next > valid_to ? seg->next : valid_to;
    damage_missing(j, lost, until);
    r->tail = until > seg->next ? until : seg->next;
    return io_sync_dir(topic_path(j).s);
}

static int set_aside_from(struct recovery *r, struct found *f)
{
    int rc = 0;
    for (; rc == 0 && f < r->files + r->count; f++) {
        struct segment *seg = f->segment;
        f->segment = NULL;
        rc = quarantine_file(r->journal, seg);
    }
    return rc;
}

static bool any_sealed_from(const struct recovery *r, const struct found *f)
{
    for (; f < r->files + r->count; f++)
        if (f->sealed)
            return true;
    return false;
}

static int keep_active(struct recovery *r, struct found *f)
{
    struct journal *j = r->journal;
    int rc = f->end == SCAN_BAD ? quarantine_tail(f->segment) : 0;
    if (rc < 0)
        return rc;
    j->active = f->segment;
    r->tail = j->active->next;
    hand_over(j, f, 0);
    return 0;
}

/* A file whose header never reached the disk, and nobody was promised anything in it. */
static int drop_headless(struct recovery *r, struct found *f)
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
        return rc < 0 ? rc : set_aside_from(r, f);
    segment_free(f->segment);
    f->segment = NULL;
    return io.unlink(path.s) < 0 ? -errno : set_aside_from(r, f + 1);
}

/* All of the file's batches are there. What lies between it and the next one? */
static int judge_whole(struct recovery *r, struct found *f, bool hole, bool promised)
{
    struct journal *j = r->journal;
    uint64_t from = f->segment->next;
    int rc = f->end == SCAN_SEALED ? finish_seal(j, f) : write_end_again(j, f);
    if (rc < 0 || !hole)
        return rc;
    if (promised) {
        damage_missing(j, from, f[1].first);
        return 0;
    }
    rc = set_aside_from(r, f + 1);
    return rc < 0 ? rc : 1;
}

/* Decides on a .qwal. 1: the files after it were torn too, and are set aside; 0; or an error. */
static int judge(struct recovery *r, struct found *f)
{
    const struct found *next = recovery_last(r, f) ? NULL : f + 1;
    uint64_t end = f->segment->next;
    if (next && next->first < end) {
        say_error("store", "files overlap topic=%s file=%020" PRIu64, r->journal->name, next->first);
        return -ERR_DAMAGED;
    }
    bool hole = next && next->first > end, sealed = f->end == SCAN_SEALED;
    bool unclean_end = f->end == SCAN_BAD && r->journal->store->was_clean;
    bool promised = f->fallen || ((hole || !next) && (r->disk > end || unclean_end || any_sealed_from(r, f + 1)));
    r->tail = end;
    if (promised && !sealed)
        return quarantine(r, f, next ? next->first : r->disk);
    if (sealed || (next && !hole))
        return judge_whole(r, f, hole, promised);
    bool headless = f->headless;
    int rc = headless ? drop_headless(r, f) : keep_active(r, f);
    if (rc == 0 && next && !headless)
        rc = set_aside_from(r, f + 1);
    return rc < 0 ? rc : next != NULL;
}

/* A sealed file in its place. The one before the tail is opened, to see whether the files join. */
static int judge_sealed(struct recovery *r, struct found *f)
{
    struct journal *j = r->journal;
    part_add(j, f->first, f->size, NULL);
    j->bytes_sealed += f->size;
    r->tail = recovery_last(r, f) ? f->first : f[1].first;
    if (f + 2 < r->files + r->count)
        return 0;                      /* seen when somebody reads there */
    struct segment *seg;
    int rc = part_segment(j, &j->parts[j->parts_count - 1], &seg);
    if (rc < 0)
        return rc;
    if (recovery_last(r, f))
        r->tail = seg->next > r->disk ? seg->next : r->disk;
    damage_missing(j, seg->next, r->tail);
    note_last(j, seg);
    return 0;
}

static int judge_all(struct recovery *r)
{
    for (size_t i = 0; i < r->count; i++) {
        struct found *f = &r->files[i];
        int rc = f->sealed ? judge_sealed(r, f) : judge(r, f);
        if (rc != 0)
            return rc < 0 ? rc : 0;
    }
    return 0;
}

/* After damage the next file is begun at once: its name keeps the lost offsets from being given out again. */
static int begin_after_damage(struct recovery *r)
{
    int rc = journal_begin_empty(r->journal);
    return rc == -ENOSPC ? 0 : rc;     /* the next append tries again; until then the disk marks tell it */
}

static int finish(struct recovery *r)
{
    struct journal *j = r->journal;
    struct segment *seg = j->active;
    if (seg && seg->next == seg->first)
        seg->time_last = j->time_ms;   /* files are searched by time */
    if (r->count == 0) {
        damage_missing(j, 0, r->disk);
        r->tail = r->disk;
    }
    j->tail = j->written = j->disk = r->tail;
    j->stated = r->stated < r->tail ? r->stated : r->tail;
    if (seg)
        j->checkpoint_position = seg->written;
    if (!seg && j->damage_count)
        return begin_after_damage(r);
    return 0;
}

static void recovery_fini(struct recovery *r)
{
    for (size_t i = 0; i < r->count; i++) {
        struct found *f = &r->files[i];
        const struct part *part = part_of(r->journal, f->first);
        if (f->segment && !(part && part->segment == f->segment))
            segment_free(f->segment);
    }
    mem_free(r->files);
}

int journal_recover(struct journal *j)
{
    struct recovery r = {.journal = j};
    struct path path = path_of("%s/checkpoint", topic_path(j).s);
    r.has_checkpoint = checkpoint_load(path.s, &r.checkpoint) == 0;
    if (r.has_checkpoint) {
        j->checkpoint_sequence = r.checkpoint.sequence;
        r.disk = r.checkpoint.disk;
        r.stated = r.checkpoint.stated;
    }
    int rc = list_files(&r);
    if (rc == 0 && r.linked)
        rc = set_aside_release(j);
    if (rc == 0)
        rc = recovery_inspect(&r);
    if (rc == 0)
        rc = judge_all(&r);
    if (rc == 0)
        rc = finish(&r);
    recovery_fini(&r);
    if (rc < 0 && rc != -ERR_TOPIC_EXISTS)
        say_error("store", "cannot open topic=%s: %s", j->name, err_sentence(rc));
    return rc;
}
