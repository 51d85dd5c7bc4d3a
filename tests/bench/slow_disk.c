/*
 * Slows the disk down for a program that loads it by LD_PRELOAD: each fdatasync and syncfs takes SLOW_DISK_US
 * microseconds longer. It works for every server of a bench alike.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

/* int (*)(int) of libc, which these functions replace. */
static int slowly(const char *name, int fd)
{
    int (*real)(int);
    const char *us = getenv("SLOW_DISK_US");
    *(void **)&real = dlsym(RTLD_NEXT, name);
    usleep(us == NULL ? 0 : (useconds_t)atoi(us));
    return real(fd);
}

int fdatasync(int fd)
{
    return slowly("fdatasync", fd);
}

int syncfs(int fd)
{
    return slowly("syncfs", fd);
}
