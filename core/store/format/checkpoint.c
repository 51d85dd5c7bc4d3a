#include "store/format/checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/ensure.h"
#include "store/disk/io.h"

enum { STATED_SHIFT = 32, ORIGINS_SHIFT = 63 };

#define STATED_FAR UINT64_C(0xffffffff)

/* In the byte order of the machine: on another one the checksum is wrong, and recovery reads the whole file. The high
 * half of `position` is how far `stated` is behind `next`; STATED_FAR: too far to be stated. Slots of older versions
 * have zeros there: their nodes were alone, where the two marks are equal. */
struct slot {
    uint32_t crc;              /* of the bytes after it */
    uint32_t file_crc;
    uint64_t sequence_clean;   /* sequence * 2 + clean */
    uint64_t first_origins;    /* first + origins * 2^63 */
    uint64_t position, next, disk, epoch;
    int64_t time_ms;
    uint64_t oldest, unused[7];
};
_Static_assert(sizeof(struct slot) == 128, "a slot never straddles a sector");

static uint32_t slot_crc(const struct slot *s)
{
    return crc32c(0, (const char *)s + sizeof s->crc, sizeof *s - sizeof s->crc);
}

static bool slot_read(const struct slot *s, struct checkpoint *out)
{
    static const struct slot zero;
    if (memcmp(s, &zero, sizeof zero) == 0 || s->crc != slot_crc(s))
        return false;
    *out = (struct checkpoint){
        .sequence = s->sequence_clean / 2, .clean = s->sequence_clean & 1,
        .file_crc = s->file_crc, .first = s->first_origins & ~(UINT64_C(1) << ORIGINS_SHIFT),
        .origins = s->first_origins >> ORIGINS_SHIFT, .position = (uint32_t)s->position, .next = s->next,
        .disk = s->disk, .epoch = s->epoch, .time_ms = s->time_ms, .oldest = s->oldest,
    };
    uint64_t behind = s->position >> STATED_SHIFT;
    out->stated = behind < STATED_FAR ? s->next - behind : 0;
    return true;
}

int checkpoint_load(const char *path, struct checkpoint *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    struct slot slots[2] = {{0}};
    ssize_t got = pread(fd, slots, sizeof slots, 0);
    int rc = got < 0 ? -errno : 0;
    close(fd);
    if (rc < 0)
        return rc;
    struct checkpoint a, b;
    bool has_a = slot_read(&slots[0], &a), has_b = slot_read(&slots[1], &b);
    if (!has_a && !has_b)
        return -ENOENT;
    *out = !has_b || (has_a && a.sequence > b.sequence) ? a : b;
    return 0;
}

static uint64_t stated_behind(const struct checkpoint *c)
{
    ENSURE(c->position <= UINT32_MAX);
    ENSURE(c->stated <= c->next);
    return c->next - c->stated < STATED_FAR ? c->next - c->stated : STATED_FAR;
}

int checkpoint_save(const char *path, const struct checkpoint *c)
{
    struct slot s = {
        .file_crc = c->file_crc, .sequence_clean = c->sequence * 2 + c->clean,
        .first_origins = c->first | (uint64_t)c->origins << ORIGINS_SHIFT, .next = c->next,
        .position = c->position | stated_behind(c) << STATED_SHIFT, .disk = c->disk, .epoch = c->epoch,
        .time_ms = c->time_ms, .oldest = c->oldest,
    };
    s.crc = slot_crc(&s);
    int fd = io.open(path, O_WRONLY | O_CREAT, 0640);
    if (fd < 0)
        return -errno;
    int rc = io_write(fd, &s, sizeof s, (c->sequence & 1) * sizeof s);
    close(fd);
    return rc;
}
