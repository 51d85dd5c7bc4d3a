/*
 * Makes the disk slower for the program into which LD_PRELOAD brings it: each fdatasync and syncfs takes
 * SLOW_DISK_US microseconds longer. All of a bench are slowed down alike, whoever wrote them.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

/* int (*)(int) of libc: what we stand in for. */
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
