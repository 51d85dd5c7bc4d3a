/*
 * The few system calls through which the store changes the disk, as function pointers: a test swaps one to
 * let a write fail, a disk fill, or a sync be withheld. In production they are the calls themselves. What only
 * reads goes to the kernel directly, and so does closing.
 *
 * Unless said, they return -1 and set errno as the calls do.
 *
 * `LIGNUM_FAULT` (only in builds with -DFAULTS, which `make test` makes) sets them from the
 * environment of a real process; see io_fault.h.
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
    int (*exchange)(const char *a, const char *b);  /* two names of files, at once; not on every filesystem */
    int (*unlink)(const char *path);
    int (*mkdir)(const char *path, mode_t mode);
    int (*rmdir)(const char *path);
};

extern struct io io;

/* fsyncs the directory at this path. 0 or -errno. */
int io_sync_dir(const char *path);

/* The same; when no descriptor is left to open it with, by a syncfs of the filesystem that root_fd is on. */
int io_sync_dir_or_all(const char *path, int root_fd);

/* Writes all n bytes, or says why not: 0, or -errno (-EIO for a short write). Never tried again. */
int io_write(int fd, const void *p, size_t n, uint64_t at);

#endif
