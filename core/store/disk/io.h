/*
 * The system calls that change the disk, as function pointers. A test replaces one to make a write fail, fill the disk
 * or drop a sync; in production they are the calls themselves. Calls that only read, and close, are made directly.
 *
 * Unless stated otherwise they return -1 and set errno, as the calls do.
 *
 * Builds with -DFAULTS (as `make test` makes) let the environment variable LIGNUM_FAULT replace them in a running
 * process: see io_fault.h.
 */
#ifndef STORE_DISK_IO_H
#define STORE_DISK_IO_H

#include <stdint.h>
#include <sys/types.h>

struct io {
    int (*open)(const char *path, int flags, mode_t mode);
    ssize_t (*pwrite)(int fd, const void *p, size_t n, off_t at);
    int (*allocate)(int fd, off_t from, off_t n);   /* posix_fallocate: returns an errno */
    int (*truncate)(int fd, off_t size);
    int (*sync_data)(int fd);                       /* fdatasync */
    int (*sync_all)(int fd);                        /* fsync */
    int (*sync_fs)(int fd);                         /* syncfs */
    int (*rename)(const char *from, const char *to);
    int (*link)(const char *from, const char *to);
    int (*exchange)(const char *a, const char *b);  /* swaps two names atomically; some filesystems cannot */
    int (*unlink)(const char *path);
    int (*mkdir)(const char *path, mode_t mode);
    int (*rmdir)(const char *path);
};

extern struct io io;

/* Fsyncs the directory at this path. 0 or -errno. */
int io_sync_dir(const char *path);

/* The same. Where no descriptor is left to open the directory with, a syncfs of root_fd's filesystem replaces it. */
int io_sync_dir_or_all(const char *path, int root_fd);

/* Writes all n bytes. 0, or -errno (-EIO for a short write). A failed write is never repeated. */
int io_write(int fd, const void *p, size_t n, uint64_t at);

/* Copies the bytes [at, end) of a file to position `out` of another one. On any thread. 0 or -errno. */
int io_copy(int from, uint64_t at, uint64_t end, int to, uint64_t out);

#endif
