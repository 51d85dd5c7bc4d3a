#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/say.h"
#include "store/disk/io.h"
#include "store/format/scan.h"
#include "store/recovery/recover.h"

static struct path quarantine_path(const struct journal *j, uint64_t offset, unsigned n, const char *suffix)
{
    return path_of("%s/torn/%s-%" PRIu64 "-%u%s", j->store->disk.root, j->name, offset, n, suffix);
}

/* A name that is not taken. */
struct path quarantine_name(const struct journal *j, uint64_t offset, const char *suffix)
{
    struct path path;
    struct stat st;
    unsigned n = 0;
    do
        path = quarantine_path(j, offset, n++, suffix);
    while (lstat(path.s, &st) == 0);
    return path;
}

static int quarantine_sync_dir(const struct journal *j)
{
    return io_sync_dir(path_of("%s/torn", j->store->disk.root).s);
}

static int copy_bytes(struct reader *r, uint64_t from, uint64_t end, int to)
{
    for (uint64_t at = from; at < end;) {
        const char *p;
        ssize_t n = reader_get(r, at, 1, &p);
        if (n <= 0)
            return n < 0 ? (int)n : -EIO;
        size_t size = (uint64_t)n < end - at ? (size_t)n : (size_t)(end - at);
        int rc = io_write(to, p, size, at - from);
        if (rc < 0)
            return rc;
        at += size;
    }
    return io.sync_all(to) < 0 ? -errno : 0;
}

static int quarantine_copy(const struct journal *j, struct reader *r, const struct segment *seg, uint64_t end)
{
    struct path path = quarantine_name(j, seg->next, ".bin");
    int fd = io.open(path.s, O_WRONLY | O_CREAT | O_EXCL, 0640);
    if (fd < 0)
        return -errno;
    int rc = copy_bytes(r, seg->size, end, fd);
    close(fd);
    if (rc == 0)
        rc = quarantine_sync_dir(j);
    if (rc == 0)
        say_warn("store", "torn tail topic=%s next=%" PRIu64 " bytes=%" PRIu64 " copy=%s (never acknowledged)", j->name,
                 seg->next, end - seg->size, path.s);
    j->store->stats.torn_bytes += end - seg->size;
    return rc;
}

/* Cuts the file at seg->size and takes the space again, so that zeros follow. */
static int truncate_file(struct segment *seg, uint64_t space)
{
    if (io.truncate(seg->file.fd, (off_t)seg->size) < 0)
        return -errno;
    if (space > seg->size && io.allocate(seg->file.fd, (off_t)seg->size, (off_t)(space - seg->size)) == 0)
        seg->space = space;
    else
        seg->space = seg->size;        /* a full disk: the next append asks again */
    return io.sync_all(seg->file.fd) < 0 ? -errno : 0;
}

int quarantine_tail(struct segment *seg)
{
    struct reader r = {0};
    int rc = segment_use(seg);
    if (rc == 0)
        rc = reader_init(&r, seg->file.fd);
    if (rc < 0)
        return rc;
    uint64_t end, space = seg->space;
    rc = reader_last_byte(&r, seg->size, &end);
    if (rc == 0 && end > seg->size)
        rc = quarantine_copy(seg->journal, &r, seg, end);
    reader_fini(&r);
    return rc < 0 ? rc : truncate_file(seg, space);
}

int quarantine_file(struct journal *j, struct segment *seg)
{
    struct path from = segment_path(seg), to = quarantine_name(j, seg->first, ".qwal");
    j->store->stats.torn_bytes += seg->size;
    say_warn("store", "torn file topic=%s first=%" PRIu64 " moved=%s (never acknowledged as durable)", j->name,
             seg->first, to.s);
    segment_free(seg);
    if (io.rename(from.s, to.s) < 0)
        return -errno;
    int rc = quarantine_sync_dir(j);
    return rc < 0 ? rc : io_sync_dir(topic_path(j).s);
}
