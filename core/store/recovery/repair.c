/*
 * Repair: a sealed file is written anew, from the bytes of a peer that has it whole. Nothing is believed before all of
 * it is there and checked. The damaged file gets a second name in data/torn/ and then loses its own to the new one by a
 * rename, so that after a crash there is always one of them.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/say.h"
#include "store/disk/io.h"
#include "store/format/scan.h"
#include "store/log/inner.h"
#include "store/recovery/recover.h"

struct repair {
    struct journal *journal;     /* outlives us */
    uint64_t first, next;        /* next: once it is checked */
    uint64_t size;
    int fd;
};

static struct path repair_path(const struct journal *j)
{
    return path_of("%s/repair", topic_path(j).s);
}

/* How far a file may go that begins with this offset. *part: the one that it replaces, or NULL where a whole one is
 * missing. 0 or -ERR_GONE. */
static int repair_place(struct journal *j, uint64_t first, struct part **part, uint64_t *until)
{
    struct segment *before;
    struct part *at = part_of(j, first);
    if (!at)
        return -ERR_GONE;
    *until = part_end(j, at);
    *part = part_sealed(j, first);
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
    int rc = j->repairing ? -ERR_BUSY : repair_place(j, first, &part, &until);
    if (rc < 0)
        return rc;
    int fd = io.open(repair_path(j).s, O_RDWR | O_CREAT | O_TRUNC, 0640);
    if (fd < 0)
        return -errno;
    struct repair *r = MEM_NEW(struct repair);
    *r = (struct repair){.journal = j, .first = first, .fd = fd};
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

static void repair_free(struct repair *r)
{
    close(r->fd);
    r->journal->repairing = false;
    mem_free(r);
}

void repair_abort(struct repair *r)
{
    io.unlink(repair_path(r->journal).s);
    repair_free(r);
}

/* -- checking --------------------------------------------------------------------------------------------- */

/* Header, every batch, and an end record that is the end. */
static int repair_scan(struct repair *r, struct scan *s, uint32_t *crc)
{
    struct reader *reader = &r->journal->store->reader;
    struct batch_head head;
    const char *bytes;
    int rc = reader_init(reader, r->fd);
    if (rc < 0)
        return rc;
    ssize_t n = reader_get(reader, 0, FILE_HEAD_SIZE, &bytes);
    if (n < FILE_HEAD_SIZE || file_head_check(r->journal, bytes, r->first) < 0)
        return n < 0 ? (int)n : -ERR_DAMAGED;
    rc = scan_begin(reader, r->first, s);
    while (rc == 0 && (rc = scan_next(reader, s, &head, &bytes)) == SCAN_BATCH)
        rc = 0;
    if (rc != SCAN_SEALED)
        return rc < 0 ? rc : -ERR_DAMAGED;
    *crc = end_record_file_crc(bytes);
    return r->size == s->position + END_RECORD_SIZE ? 0 : -ERR_DAMAGED;
}

/* Is it the file that stood there? Its end record says so where it is left; else where the next file begins does. */
static int repair_check(struct repair *r)
{
    struct journal *j = r->journal;
    struct part *part;
    struct scan s;
    uint64_t until;
    uint32_t crc = 0, ours;
    int rc = repair_scan(r, &s, &crc);
    if (rc == 0)
        rc = repair_place(j, r->first, &part, &until);
    if (rc < 0)
        return rc;
    if (s.next > until || s.next == r->first || s.epoch > j->epoch || s.time_ms > j->time_ms)
        return -ERR_DIVERGED;
    r->next = s.next;
    rc = part ? part_end_crc(j, part, &ours) : 0;
    if (file_unusable(rc))
        return s.next == until ? 0 : -ERR_DIVERGED;
    return rc == 0 && part && ours != crc ? -ERR_DIVERGED : rc;
}

/* -- taking the place ------------------------------------------------------------------------------------- */

/* The damaged file is kept under a second name. */
static int repair_keep(struct repair *r, const struct path *from)
{
    struct journal *j = r->journal;
    struct path to = quarantine_name(j, r->first, ".log");
    if (io.link(from->s, to.s) < 0)
        return -errno;
    int rc = io_sync_dir(path_of("%s/torn", j->store->disk.root).s);
    if (rc == 0)
        say_info("store", "damaged file kept topic=%s file=%020" PRIu64 " copy=%s", j->name, r->first, to.s);
    return rc;
}

static struct part *part_insert(struct journal *j, uint64_t first)
{
    uint32_t at = (uint32_t)(part_of(j, first) - j->parts) + 1;
    part_add(j, first, 0, NULL);
    memmove(&j->parts[at + 1], &j->parts[at], (j->parts_count - 1 - at) * sizeof *j->parts);
    j->parts[at] = (struct part){.first = first};
    return &j->parts[at];
}

static void repair_take(struct repair *r, struct part *part)
{
    struct journal *j = r->journal;
    if (part && part->segment)
        segment_free(part->segment);
    if (!part)
        part = part_insert(j, r->first);
    j->bytes_sealed += r->size - part->size;
    part->segment = NULL;
    part->size = r->size;
    damage_drop(j, r->first, r->next);
    say_info("store", "repaired topic=%s file=%020" PRIu64 " bytes=%" PRIu64, j->name, r->first, r->size);
}

static int repair_swap(struct repair *r)
{
    struct journal *j = r->journal;
    struct part *part = part_sealed(j, r->first);
    struct path to = file_path(j, r->first, FILE_SEALED);
    int rc = part ? repair_keep(r, &to) : 0;
    if (rc < 0)
        return rc;
    io.unlink(file_path(j, r->first, FILE_INDEX).s);   /* a derived one, of other positions perhaps */
    if (io.rename(repair_path(j).s, to.s) < 0)
        return -errno;
    rc = io_sync_dir(topic_path(j).s);
    if (rc < 0)
        disk_failed(&j->store->disk, "fsync of a directory", topic_path(j).s, rc);
    repair_take(r, part);
    return 0;
}

int repair_end(struct repair *r)
{
    struct journal *j = r->journal;
    store_sync_all(j->store);
    audit_cancel(j);
    prepare_cancel(j);
    int rc = io.sync_all(r->fd) < 0 ? -errno : 0;
    if (rc == 0)
        rc = repair_check(r);
    if (rc == 0)
        rc = repair_swap(r);
    if (rc < 0)
        repair_abort(r);
    else
        repair_free(r);
    return rc;
}
