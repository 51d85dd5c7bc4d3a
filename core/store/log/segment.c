#include "store/log/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/crc32c.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "store/disk/io.h"

enum { SPACE_GRAIN = 4 * KIB };

struct segment *segment_new(struct topic_dir *dir, uint64_t first)
{
    struct segment *seg = MEM_NEW(struct segment);
    seg->dir = dir;
    seg->first = seg->next = first;
    seg->size = seg->written = FILE_HEAD_SIZE;
    seg->last.offset = UINT64_MAX;
    file_init(&seg->file);
    list_init(&seg->sealing);
    cached_index_init(&seg->cached);
    return seg;
}

void segment_free(struct segment *seg)
{
    files_close(&seg->dir->disk->files, &seg->file);
    list_remove(&seg->sealing);
    index_cache_drop(seg->dir->indexes, &seg->cached);
    mem_free(seg->hints);
    mem_free(seg);
}

void segment_forget_hints(struct segment *seg)
{
    mem_free(seg->hints);
    seg->hints = NULL;
}

struct path segment_path(const struct segment *seg)
{
    return file_path(seg->dir, seg->first, seg->renamed ? FILE_SEALED : FILE_ACTIVE);
}

int segment_use(struct segment *seg)
{
    struct files *files = &seg->dir->disk->files;
    if (seg->file.fd >= 0) {
        files_touch(files, &seg->file);
        return 0;
    }
    int flags = seg->ended ? O_RDONLY : O_RDWR;
    int rc = files_open(files, &seg->file, segment_path(seg).s, flags);
    if (rc != -ENOENT || !seg->ended)
        return rc;
    seg->renamed = !seg->renamed;      /* the disk thread is renaming it at this moment */
    return files_open(files, &seg->file, segment_path(seg).s, flags);
}

int segment_create(struct topic_dir *dir, uint64_t first, bool ready, struct segment **out)
{
    struct segment *seg = segment_new(dir, first);
    struct path path = segment_path(seg);
    int rc = files_open(&dir->disk->files, &seg->file, path.s, ready ? O_RDWR : O_RDWR | O_CREAT | O_EXCL);
    if (rc < 0) {
        if (ready)
            io.unlink(path.s);         /* it would block the name */
        segment_free(seg);
        return rc;
    }
    struct stat st;
    if (ready && fstat(seg->file.fd, &st) == 0)
        seg->space = (uint64_t)st.st_size;
    *out = seg;
    return 0;
}

void segment_discard(struct segment *seg)
{
    io.unlink(segment_path(seg).s);
    segment_free(seg);
}

static uint64_t round_up(uint64_t n)
{
    return (n + SPACE_GRAIN - 1) / SPACE_GRAIN * SPACE_GRAIN;
}

int segment_reserve(struct segment *seg, uint64_t need, uint64_t size_max)
{
    uint64_t least = round_up(seg->size + need + END_RECORD_SIZE);
    if (least <= seg->space)
        return 0;
    int rc = segment_use(seg);
    if (rc < 0)
        return rc;
    /* Double the space, by at most a largest step, up to what the file can use. */
    uint64_t step = seg->space < SEGMENT_SPACE_STEP_MAX ? seg->space : SEGMENT_SPACE_STEP_MAX;
    uint64_t want = seg->space + (step ? step : SEGMENT_SPACE_FIRST);
    if (want > round_up(size_max))
        want = round_up(size_max);
    if (want < least)
        want = least;
    rc = io.allocate(seg->file.fd, (off_t)seg->space, (off_t)(want - seg->space));
    if ((rc == ENOSPC || rc == EFBIG || rc == EDQUOT) && want > least) {
        want = least;
        rc = io.allocate(seg->file.fd, (off_t)seg->space, (off_t)(want - seg->space));
    }
    if (rc == 0)
        seg->space = want;
    return -rc;
}

void segment_begin(struct segment *seg, uint64_t epoch, struct buf *pending)
{
    struct file_head head = file_head_of(seg->dir, seg->first, epoch);
    ENSURE(buf_size(pending) == 0);
    unsigned char *p = (unsigned char *)buf_reserve(pending, FILE_HEAD_SIZE);
    file_head_write(p, &head);
    pending->end += FILE_HEAD_SIZE;
    seg->crc = crc32c(0, p, FILE_HEAD_SIZE);
    seg->written = seg->synced = 0;
    seg->epoch = epoch;
}

struct batch_head segment_end_like(const struct segment *seg)
{
    return (struct batch_head){
        .first = seg->next, .epoch = seg->epoch, .time_ms = seg->time_last,
        .flags = seg->origins ? BATCH_FLAG_ORIGINS : 0,
    };
}

void segment_add(struct segment *seg, const struct batch_head *head, const char *bytes)
{
    if (seg->next == seg->first)
        seg->time_first = head->time_ms;
    index_note(&seg->cached.index, (struct index_entry){seg->next, seg->size, head->time_ms});
    seg->last = (struct place){seg->next, seg->size};
    seg->size += head->size;
    seg->next += head->count;
    seg->crc = batch_crc_after(seg->crc, bytes, head);
    seg->epoch = head->epoch;
    seg->time_last = head->time_ms;
    seg->origins |= head->origin > 0;
}
