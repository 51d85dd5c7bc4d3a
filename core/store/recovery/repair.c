#include "store/recovery/repair.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/say.h"
#include "store/disk/io.h"
#include "store/log/sealed_file.h"
#include "store/log/store_struct.h"
#include "store/recovery/quarantine.h"

struct repair {
    struct journal *journal;     /* outlives us */
    uint64_t first;
    uint64_t next;               /* once the file is checked */
    uint64_t size;
    int fd;
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
    if (!at)
        return -ERR_GONE;
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
    if (rc < 0)
        return rc;
    int fd = io.open(new_path(j).s, O_RDWR | O_CREAT | O_TRUNC, 0640);
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
    io.unlink(new_path(r->journal).s);
    repair_free(r);
}

/* -- checking --------------------------------------------------------------------------------------------- */

/* Header, every batch, and an end record at the end of the file. 0; -ERR_DAMAGED; -errno. */
static int check_bytes(struct repair *r, struct scan *s, uint32_t *crc)
{
    struct reader *reader = &r->journal->store->reader;
    struct batch_head head;
    const char *bytes;
    int rc = reader_init(reader, r->fd);
    if (rc < 0)
        return rc;
    ssize_t n = reader_get(reader, 0, FILE_HEAD_SIZE, &bytes);
    if (n < FILE_HEAD_SIZE || file_head_check(&r->journal->parts.dir, bytes, r->first) < 0)
        return n < 0 ? (int)n : -ERR_DAMAGED;
    rc = scan_begin(reader, r->first, s);
    if (rc < 0)
        return rc;
    do
        rc = scan_next(reader, s, &head, &bytes);
    while (rc == SCAN_BATCH);
    if (rc != SCAN_SEALED)
        return rc < 0 ? rc : -ERR_DAMAGED;
    *crc = end_record_file_crc(bytes);
    return r->size == s->position + END_RECORD_SIZE ? 0 : -ERR_DAMAGED;
}

/* Whether it is the file that was there: by the checksum in the old end record if that is left; else by the offset
 * where the next file begins. 0; -ERR_DAMAGED; -ERR_DIVERGED; -errno. */
static int check(struct repair *r)
{
    struct journal *j = r->journal;
    struct part *part;
    struct scan s;
    uint64_t until;
    uint32_t crc = 0, ours;
    int rc = check_bytes(r, &s, &crc);
    if (rc == 0)
        rc = find_place(j, r->first, &part, &until);
    if (rc < 0)
        return rc;
    if (s.next > until || s.next == r->first || s.epoch > j->marks.epoch || s.time_ms > j->marks.time_ms)
        return -ERR_DIVERGED;
    r->next = s.next;
    if (!part)
        return 0;
    rc = part_end_crc(j, part, &ours);
    if (is_file_damage(rc))
        return s.next == until ? 0 : -ERR_DIVERGED;
    return rc == 0 && ours != crc ? -ERR_DIVERGED : rc;
}

/* -- taking the place ------------------------------------------------------------------------------------- */

static int replace(struct repair *r)
{
    struct journal *j = r->journal;
    struct topic_dir *dir = &j->parts.dir;
    struct part *part = part_sealed(&j->parts, r->first);
    struct path to = file_path(dir, r->first, FILE_SEALED);
    if (part) {
        struct path kept = quarantine_path(dir, r->first, ".log");
        int rc = io.link(to.s, kept.s) < 0 ? -errno : quarantine_sync(dir);
        if (rc < 0)
            return rc;
        say_info("store", "damaged file kept topic=%s file=%020" PRIu64 " copy=%s", dir->name, r->first, kept.s);
    }
    io.unlink(file_path(dir, r->first, FILE_INDEX).s);     /* its positions may be those of the damaged file */
    if (io.rename(new_path(j).s, to.s) < 0)
        return -errno;
    int rc = io_sync_dir(topic_path(dir).s);
    if (rc < 0)
        disk_failed(dir->disk, "fsync of a directory", topic_path(dir).s, rc);

    if (!part)
        part = parts_insert(&j->parts, r->first);
    if (part->segment)
        segment_free(part->segment);
    part->segment = NULL;
    part_resize(&j->parts, part, r->size);
    damage_drop(&j->damage, r->first, r->next);
    say_info("store", "repaired topic=%s file=%020" PRIu64 " bytes=%" PRIu64, dir->name, r->first, r->size);
    return 0;
}

int repair_end(struct repair *r)
{
    struct journal *j = r->journal;
    store_sync_all(j->store);
    background_stop(&j->background, JOURNAL_CHANGES);
    int rc = io.sync_all(r->fd) < 0 ? -errno : 0;
    if (rc == 0)
        rc = check(r);
    if (rc == 0)
        rc = replace(r);
    if (rc < 0)
        repair_abort(r);
    else
        repair_free(r);
    return rc;
}
