#include "store/disk/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"

static int real_open(const char *path, int flags, mode_t mode)
{
    return open(path, flags | O_CLOEXEC, mode);
}

/* The signal of the script budget (script/vm/budget.c) may interrupt it at any time. */
static int real_allocate(int fd, off_t from, off_t n)
{
    int rc;
    do
        rc = posix_fallocate(fd, from, n);
    while (rc == EINTR);
    return rc;
}

static int real_exchange(const char *a, const char *b)
{
    return renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE);
}

struct io io = {
    .open = real_open,
    .pwrite = pwrite,
    .allocate = real_allocate,
    .truncate = ftruncate,
    .sync_data = fdatasync,
    .sync_all = fsync,
    .sync_fs = syncfs,
    .rename = rename,
    .link = link,
    .exchange = real_exchange,
    .unlink = unlink,
    .mkdir = mkdir,
    .rmdir = rmdir,
};

int io_sync_dir(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int rc = io.sync_all(fd) < 0 ? -errno : 0;
    close(fd);
    return rc;
}

int io_sync_dir_or_all(const char *path, int root_fd)
{
    int rc = io_sync_dir(path);
    if (rc != -EMFILE && rc != -ENFILE)
        return rc;
    return io.sync_fs(root_fd) < 0 ? -errno : 0;
}

int io_write(int fd, const void *p, size_t n, uint64_t at)
{
    ssize_t done = io.pwrite(fd, p, n, (off_t)at);
    if (done < 0)
        return -errno;
    return (size_t)done == n ? 0 : -EIO;
}

int io_copy(int from, uint64_t at, uint64_t end, int to, uint64_t out)
{
    char chunk[64 * KIB];
    while (at < end) {
        size_t n = end - at < sizeof chunk ? (size_t)(end - at) : sizeof chunk;
        ssize_t got = pread(from, chunk, n, (off_t)at);
        if (got > 0)
            got = io.pwrite(to, chunk, (size_t)got, (off_t)out);     /* less than all: the next call says why */
        if (got <= 0)
            return got < 0 ? -errno : -EIO;
        at += (uint64_t)got;
        out += (uint64_t)got;
    }
    return 0;
}
