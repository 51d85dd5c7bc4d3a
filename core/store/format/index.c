#include "store/format/index.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/err.h"
#include "base/mem.h"
#include "store/disk/io.h"
#include "store/format/record.h"

/* In the byte order of the machine: on another one the magic is wrong, and the index is made again. */
struct index_head {
    uint64_t magic;
    uint32_t crc;      /* of the entries */
    uint32_t count;
};

#define INDEX_MAGIC UINT64_C(0x3178646e6d67696c)   /* "ligmndx1" */

void index_init(struct index *ix)
{
    *ix = (struct index){.due = FILE_HEAD_SIZE + INDEX_EVERY};
}

void index_fini(struct index *ix)
{
    mem_free(ix->entries);
    index_init(ix);
}

void index_put(struct index *ix, struct index_entry e)
{
    if (ix->count == ix->cap) {
        ix->cap = ix->cap ? ix->cap * 2 : 4;
        ix->entries = mem_resize(ix->entries, ix->cap * sizeof *ix->entries);
    }
    ix->entries[ix->count++] = e;
    ix->due = e.position + INDEX_EVERY;
}

void index_truncate(struct index *ix, uint64_t offset)
{
    while (ix->count && ix->entries[ix->count - 1].offset >= offset)
        ix->count--;
    ix->due = (ix->count ? ix->entries[ix->count - 1].position : FILE_HEAD_SIZE) + INDEX_EVERY;
}

/* Returns the last entry for which the condition holds; it holds for those before, and for none after. */
#define RETURN_LAST(ix, condition)                      \
    size_t low = 0, high = (ix)->count;                 \
    while (low < high) {                                \
        size_t mid = (low + high) / 2;                  \
        const struct index_entry *e = &(ix)->entries[mid]; \
        if (condition)                                  \
            low = mid + 1;                              \
        else                                            \
            high = mid;                                 \
    }                                                   \
    return low ? &(ix)->entries[low - 1] : NULL

const struct index_entry *index_at_offset(const struct index *ix, uint64_t offset)
{
    RETURN_LAST(ix, e->offset <= offset);
}

const struct index_entry *index_at_position(const struct index *ix, uint64_t position)
{
    RETURN_LAST(ix, e->position <= position);
}

const struct index_entry *index_before_time(const struct index *ix, int64_t time_ms)
{
    RETURN_LAST(ix, e->time_ms < time_ms);
}

int index_save(const struct index *ix, const char *path)
{
    size_t size = ix->count * sizeof *ix->entries;
    struct index_head head = {INDEX_MAGIC, crc32c(0, ix->entries, size), ix->count};
    int fd = io.open(path, O_WRONLY | O_CREAT | O_TRUNC, 0640);
    if (fd < 0)
        return -errno;
    int rc = io_write(fd, &head, sizeof head, 0);
    if (rc == 0 && size)
        rc = io_write(fd, ix->entries, size, sizeof head);
    close(fd);
    return rc;
}

static int index_read(struct index *ix, int fd)
{
    struct index_head head;
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (pread(fd, &head, sizeof head, 0) != sizeof head || head.magic != INDEX_MAGIC)
        return -ERR_DAMAGED;
    size_t size = head.count * sizeof *ix->entries;
    if ((uint64_t)st.st_size != sizeof head + size)
        return -ERR_DAMAGED;
    ix->entries = mem_resize(ix->entries, size + 1);
    ix->cap = head.count;
    if (pread(fd, ix->entries, size, sizeof head) != (ssize_t)size)
        return -ERR_DAMAGED;
    if (crc32c(0, ix->entries, size) != head.crc)
        return -ERR_DAMAGED;
    ix->count = head.count;
    if (ix->count)
        ix->due = ix->entries[ix->count - 1].position + INDEX_EVERY;
    return 0;
}

int index_load(struct index *ix, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int rc = index_read(ix, fd);
    close(fd);
    if (rc < 0)
        index_fini(ix);
    return rc;
}
