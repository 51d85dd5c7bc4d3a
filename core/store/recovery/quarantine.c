#include "store/recovery/quarantine.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/say.h"
#include "store/disk/io.h"
#include "store/log/store_struct.h"

struct path quarantine_path(const struct topic_dir *dir, uint64_t offset, const char *suffix)
{
    struct path path;
    struct stat st;
    unsigned n = 0;
    do
        path = path_of("%s/torn/%s-%" PRIu64 "-%u%s", dir->disk->root, dir->name, offset, n++, suffix);
    while (lstat(path.s, &st) == 0);
    return path;
}

int quarantine_sync(const struct topic_dir *dir)
{
    return io_sync_dir(path_of("%s/torn", dir->disk->root).s);
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

static int copy_tail(struct journal *j, struct reader *r, const struct segment *seg, uint64_t end)
{
    struct path path = quarantine_path(seg->dir, seg->next, ".bin");
    int fd = io.open(path.s, O_WRONLY | O_CREAT | O_EXCL, 0640);
    if (fd < 0)
        return -errno;
    int rc = copy_bytes(r, seg->size, end, fd);
    close(fd);
    if (rc == 0)
        rc = quarantine_sync(seg->dir);
    if (rc == 0)
        say_warn("store", "torn tail topic=%s next=%" PRIu64 " bytes=%" PRIu64 " copy=%s (never acknowledged)",
                 seg->dir->name, seg->next, end - seg->size, path.s);
    j->store->stats.torn_bytes += end - seg->size;
    return rc;
}

int quarantine_tail(struct journal *j, struct segment *seg)
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
        rc = copy_tail(j, &r, seg, end);
    reader_fini(&r);
    if (rc < 0)
        return rc;
    /* Zeros must follow the last batch: truncate the file, and allocate its space again. */
    if (io.truncate(seg->file.fd, (off_t)seg->size) < 0)
        return -errno;
    if (space > seg->size && io.allocate(seg->file.fd, (off_t)seg->size, (off_t)(space - seg->size)) == 0)
        seg->space = space;
    else
        seg->space = seg->size;        /* the disk is full: the next append asks again */
    return io.sync_all(seg->file.fd) < 0 ? -errno : 0;
}

int quarantine_file(struct journal *j, struct segment *seg)
{
    struct topic_dir *dir = seg->dir;
    struct path from = segment_path(seg), to = quarantine_path(dir, seg->first, ".qwal");
    j->store->stats.torn_bytes += seg->size;
    say_warn("store", "torn file topic=%s first=%" PRIu64 " moved=%s (never acknowledged as durable)", dir->name,
             seg->first, to.s);
    segment_free(seg);
    if (io.rename(from.s, to.s) < 0)
        return -errno;
    int rc = quarantine_sync(dir);
    return rc < 0 ? rc : io_sync_dir(topic_folder(dir).s);
}
