/*
 * Slows the disk down for a program that loads it by LD_PRELOAD: each fdatasync and syncfs takes SLOW_DISK_US
 * microseconds longer. It works for every server of a bench alike. While a thread waits, its timer slack is 1 ns: with
 * the usual 50 us a wait of 100 us would be one of 150.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

static void wait_us(long us)
{
    struct timespec until;
    int slack = prctl(PR_GET_TIMERSLACK);
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += us % 1000000 * 1000;
    until.tv_sec += us / 1000000 + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    prctl(PR_SET_TIMERSLACK, 1);
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) != 0) {
    }
    prctl(PR_SET_TIMERSLACK, slack);
}

/* int (*)(int) of libc, which these functions replace. */
static int slowly(const char *name, int fd)
{
    int (*real)(int);
    const char *us = getenv("SLOW_DISK_US");
    *(void **)&real = dlsym(RTLD_NEXT, name);
    if (us != NULL)
        wait_us(atol(us));
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
