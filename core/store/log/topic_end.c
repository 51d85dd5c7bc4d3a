#include "store/log/topic_end.h"

#include <errno.h>
#include <sys/stat.h>
#include <time.h>

#include "base/clock.h"

#define TICK_NS (20 * NS_PER_MS)   /* more than one tick of any kernel */

static uint64_t changed_ns(const struct stat *st)
{
    return (uint64_t)st->st_ctim.tv_sec * NS_PER_S + (uint64_t)st->st_ctim.tv_nsec;
}

/* Inodes are dated by the kernel's tick, of which two changes may have the same: whatever changed just now could change
 * again without being dated later. */
static void forget_recent(struct topic_end *end)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    uint64_t before = (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec - TICK_NS;
    if (end->file_changed >= before || end->dir_changed >= before)
        end->file_changed = end->dir_changed = 0;
}

int topic_end_stat(const struct topic_dir *dir, const uint64_t *first, struct topic_end *out)
{
    struct stat st;
    *out = (struct topic_end){.small = dir->small};
    if (!dir->small && stat(topic_path(dir).s, &st) < 0)
        return -errno;
    out->dir_changed = dir->small ? 0 : changed_ns(&st);
    if (!first)
        return 0;
    if (stat(file_path(dir, *first, FILE_ACTIVE).s, &st) < 0)
        return -errno;
    if (st.st_size > UINT32_MAX || st.st_nlink != 1)
        return -EFBIG;
    out->size = (uint32_t)st.st_size;
    out->file_changed = changed_ns(&st);
    return 0;
}

bool journal_ends_small(const struct journal *j)
{
    const struct segment *seg = j->parts.active;
    if (j->checkpoint.sequence > 0 || j->damage.count > 0 || j->oldest != UINT64_MAX || j->shortening)
        return false;
    if (!seg)                          /* of a small one nothing is on the disk */
        return j->parts.count == 0 && j->marks.tail == 0 && !j->parts.dir.small;
    return j->parts.count == 1 && seg->size == seg->written && seg->size < FILE_HEAD_SIZE + INDEX_EVERY;
}

int topic_end_of(const struct journal *j, struct topic_end *out)
{
    const struct segment *seg = j->parts.active;
    int rc = topic_end_stat(&j->parts.dir, seg ? &seg->first : NULL, out);
    if (rc < 0)
        return rc;
    forget_recent(out);
    out->id = j->parts.dir.id;
    out->stated = j->marks.stated;
    if (!seg)
        return 0;
    out->first = seg->first;
    out->next = seg->next;
    out->epoch = seg->epoch;
    out->time_first = seg->time_first;
    out->time_last = seg->time_last;
    out->position = (uint32_t)seg->size;
    out->crc = seg->crc;
    out->origins = seg->origins;
    return 0;
}
