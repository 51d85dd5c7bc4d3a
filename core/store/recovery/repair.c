#include "store/recovery/repair.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/say.h"
#include "store/disk/io.h"
#include "store/log/sealed_file.h"
#include "store/log/store_struct.h"
#include "store/recovery/quarantine.h"

enum repair_state { REPAIR_FED, REPAIR_CHECKING, REPAIR_REPLACING, REPAIR_ENDED };

struct repair {
    struct background background;    /* from repair_end on */
    struct journal *journal;     /* outlives us */
    uint64_t first;
    uint64_t size;
    int fd;                      /* owned */
    enum repair_state state;
    bool orphan;                 /* the owner has let go of it: it is freed by itself */
    /* The disk thread's, while a step runs. */
    struct file_head head;       /* that the file should have */
    struct path from, to;        /* TOPIC/repair, and the name that it takes */
    struct path kept;            /* where the damaged file goes; empty where a whole file is missing */
    struct path index, folder, torn;
    struct reader reader;        /* owned */
    struct scan scan;            /* position 0: not begun */
    uint32_t crc;                /* that its end record states */
    const char *failed;          /* the file has its name, but this call failed */
    int rc;
};

static struct path new_path(const struct journal *j)
{
    return path_of("%s/repair", topic_path(&j->parts.dir).s);
}

/* Where a file that begins with `first` has its place. *part: the one that it replaces; NULL where a whole file is
 * missing. *until: it may not go beyond this offset. 0; -ERR_GONE: no place; or as part_segment. */
static int find_place(struct journal *j, uint64_t first, struct part **part, uint64_t *until)
{
    struct segment *before;
    struct part *at = part_of(&j->parts, first);
    if (!at) {
        *part = NULL;
        *until = journal_first(j);
        return first >= j->oldest && first < *until ? 0 : -ERR_GONE;
    }
    *until = part_end(j, at);
    *part = part_sealed(&j->parts, first);
    if (*part)
        return 0;
    int rc = part_segment(j, at, &before);
    if (rc < 0)
        return rc;
    return before->ended && before->next == first && first < *until ? 0 : -ERR_GONE;
}

int repair_begin(struct journal *j, uint64_t first, struct repair **out)
{
    struct part *part;
    uint64_t until;
    int rc = j->repairing ? -ERR_BUSY : find_place(j, first, &part, &until);
    if (rc == 0)
        rc = journal_own_dir(j);
    if (rc < 0)
        return rc;
    int fd = io.open(new_path(j).s, O_RDWR | O_CREAT | O_TRUNC, 0640);
    if (fd < 0)
        return -errno;
    struct repair *r = MEM_NEW(struct repair);
    *r = (struct repair){.journal = j, .first = first, .fd = fd, .from = new_path(j)};
    j->repairing = true;
    *out = r;
    return 0;
}

int repair_add(struct repair *r, slice bytes)
{
    if (bytes.n > SEGMENT_BYTES_MAX - r->size)
        return -ERR_TOO_LARGE;
    int rc = bytes.n ? io_write(r->fd, bytes.p, bytes.n, r->size) : 0;
    if (rc == 0)
        r->size += bytes.n;
    return rc;
}

/* -- on the disk thread ----------------------------------------------------------------------------------- */

/* Reads on: header, every batch, and an end record at the end of the file. 1 at the end; 0; -ERR_DAMAGED; -errno. */
static int check_step(struct repair *r)
{
    struct batch_head head;
    const char *bytes;
    uint64_t from = r->scan.position;
    int rc = SCAN_BATCH;
    if (from == 0) {
        rc = reader_init(&r->reader, r->fd);
        ssize_t n = rc < 0 ? rc : reader_get(&r->reader, 0, FILE_HEAD_SIZE, &bytes);
        if (n < FILE_HEAD_SIZE || !file_head_is(&r->head, bytes))
            return n < 0 ? (int)n : -ERR_DAMAGED;
        rc = scan_begin(&r->reader, r->first, &r->scan);
        return rc;
    }
    while (rc == SCAN_BATCH && r->scan.position - from < BACKGROUND_STEP)
        rc = scan_next(&r->reader, &r->scan, &head, &bytes);
    /* Written out step by step: one fsync of everything at the end would keep group commits waiting. */
    sync_file_range(r->fd, (off_t)from, (off_t)(r->scan.position - from),
                    SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
    if (rc < 0 || rc == SCAN_BATCH)
        return rc < 0 ? rc : 0;
    if (rc != SCAN_SEALED || r->size != r->scan.position + END_RECORD_SIZE)
        return -ERR_DAMAGED;
    r->crc = end_record_file_crc(bytes);
    return io.sync_all(r->fd) < 0 ? -errno : 1;
}

static int replace_file(struct repair *r)
{
    if (r->kept.s[0]) {
        int rc = io.link(r->to.s, r->kept.s) < 0 ? -errno : io_sync_dir(r->torn.s);
        if (rc < 0)
            return rc;
    }
    io.unlink(r->index.s);             /* its positions may be those of the damaged file */
    if (io.rename(r->from.s, r->to.s) < 0)
        return -errno;
    int rc = io_sync_dir(r->folder.s);
    if (rc < 0)
        r->failed = "fsync of a directory";
    return rc;
}

static void repair_run(struct job *job)
{
    struct repair *r = LIST_OWNER(job, struct repair, background.job);
    r->rc = r->state == REPAIR_CHECKING ? check_step(r) : replace_file(r);
}

/* -- on the loop thread ----------------------------------------------------------------------------------- */

static void repair_free(struct repair *r)
{
    reader_fini(&r->reader);
    close(r->fd);
    r->journal->repairing = false;
    mem_free(r);
}

static void end(struct repair *r, int rc)
{
    r->state = REPAIR_ENDED;
    r->rc = rc;
    if (rc < 0)
        io.unlink(r->from.s);
    background_remove(&r->background);
}

/* Whether it is the file that was there: by the checksum in the old end record if that is left and the file is not
 * refused (journal_refuse_file); else by the offset where the next file begins. 0, and *part as find_place has it;
 * -ERR_GONE; -ERR_DIVERGED; -errno. */
static int compare(struct repair *r, struct part **part)
{
    struct journal *j = r->journal;
    const struct scan *s = &r->scan;
    uint64_t until;
    uint32_t ours;
    int rc = find_place(j, r->first, part, &until);
    if (rc < 0)
        return rc;
    if (s->next > until || s->next == r->first || s->epoch > j->marks.epoch)
        return -ERR_DIVERGED;
    if (!*part)
        return 0;
    rc = part_end_crc(j, *part, &ours);
    if (is_file_damage(rc) || damage_refuses(&j->damage, r->first))
        return s->next == until ? 0 : -ERR_DIVERGED;
    return rc == 0 && ours != r->crc ? -ERR_DIVERGED : rc;
}

static void begin_replacing(struct repair *r)
{
    struct topic_dir *dir = &r->journal->parts.dir;
    struct part *part;
    int rc = compare(r, &part);
    if (rc < 0) {
        end(r, rc);
        return;
    }
    if (part && part->segment && part->segment->pinned) {
        r->background.due_ns = clock_ns() + NS_PER_MS;         /* it is being sealed: look again */
        return;
    }
    r->state = REPAIR_REPLACING;
    r->background.due_ns = 0;
    r->to = file_path(dir, r->first, FILE_SEALED);
    r->index = file_path(dir, r->first, FILE_INDEX);
    if (part)
        r->kept = quarantine_path(dir, r->first, ".log");
}

/* The file has taken the place on the disk. Retention may have removed the old one from the journal meanwhile: then it
 * also removes this one. */
static void replaced(struct repair *r)
{
    struct journal *j = r->journal;
    struct part *part = part_sealed(&j->parts, r->first);
    if (r->kept.s[0])
        say_info("store", "old file kept topic=%s file=%020" PRIu64 " copy=%s", j->parts.dir.name, r->first,
                 r->kept.s);
    if (!part && r->kept.s[0])
        return;
    uint64_t first = journal_first(j);
    if (!part)
        part = parts_insert(&j->parts, r->first);
    if (part->segment)
        segment_free(part->segment);
    part->segment = NULL;
    part_resize(&j->parts, part, r->size);
    damage_drop(&j->damage, r->first, r->scan.next);
    if (r->first < first)
        journal_note_missing(j, r->scan.next, first);    /* the next of the files that are missing at the beginning */
    say_info("store", "repaired topic=%s file=%020" PRIu64 " bytes=%" PRIu64, j->parts.dir.name, r->first, r->size);
}

static void take_result(struct repair *r)
{
    if (r->failed)
        disk_failed(&r->journal->store->disk, r->failed, r->folder.s, r->rc);
    if (r->state == REPAIR_REPLACING && r->rc == 0)
        replaced(r);
}

static void repair_stepped(struct background *b)
{
    struct repair *r = LIST_OWNER(b, struct repair, background);
    take_result(r);
    if (r->rc < 0 || r->state == REPAIR_REPLACING)
        end(r, r->rc);
    else if (r->rc == 1)
        begin_replacing(r);
}

static void repair_stopped(struct background *b)
{
    struct repair *r = LIST_OWNER(b, struct repair, background);
    take_result(r);
    end(r, r->state == REPAIR_REPLACING && r->rc == 0 ? 0 : -ERR_CANCELLED);
    if (r->orphan)
        repair_free(r);
}

static const struct background_kind repair_kind = {.stepped = repair_stepped, .stopped = repair_stopped};

/* -- the calls -------------------------------------------------------------------------------------------- */

int repair_end(struct repair *r)
{
    struct journal *j = r->journal;
    struct topic_dir *dir = &j->parts.dir;
    if (r->state == REPAIR_ENDED) {
        int rc = r->rc;
        repair_free(r);
        return rc;
    }
    if (r->state == REPAIR_FED) {
        r->state = REPAIR_CHECKING;
        r->head = file_head_of(dir, r->first, 0);
        r->folder = topic_path(dir);
        r->torn = path_of("%s/torn", dir->disk->root);
        r->background = (struct background){.kind = &repair_kind, .dir = dir, .job.run = repair_run};
        background_begin(&r->background, &j->store->background, &j->background);
    }
    return -ERR_BUSY;
}

void repair_abort(struct repair *r)
{
    if (r->state == REPAIR_FED)
        io.unlink(r->from.s);
    if (r->state == REPAIR_FED || r->state == REPAIR_ENDED) {
        repair_free(r);
        return;
    }
    r->orphan = true;
    background_cancel(&r->background);
}
