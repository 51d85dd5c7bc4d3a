/*
 * What tests of crashes share: doing something to a journal in a process that is killed before its n-th change of the
 * disk.
 */
#ifndef UNIT_KILLED_H
#define UNIT_KILLED_H

#include <fcntl.h>
#include <sys/wait.h>

#include "unit/journals.h"

static struct io real;
static int calls_left;

/* kill -9 just before the call that changes the disk. */
static void count_down(void)
{
    if (calls_left-- == 0)
        _exit(99);
}

static int counted_open(const char *path, int flags, mode_t mode)
{
    if (flags & (O_CREAT | O_TRUNC))
        count_down();
    return real.open(path, flags, mode);
}

static ssize_t counted_pwrite(int fd, const void *p, size_t n, off_t at)
{
    count_down();
    return real.pwrite(fd, p, n, at);
}

static int counted_truncate(int fd, off_t size)
{
    count_down();
    return real.truncate(fd, size);
}

static int counted_rename(const char *from, const char *to)
{
    count_down();
    return real.rename(from, to);
}

static int counted_link(const char *from, const char *to)
{
    count_down();
    return real.link(from, to);
}

static int counted_unlink(const char *path)
{
    count_down();
    return real.unlink(path);
}

static int counted_mkdir(const char *path, mode_t mode)
{
    count_down();
    return real.mkdir(path, mode);
}

static void count_calls(int most)
{
    calls_left = most;
    real = io;
    io.open = counted_open;
    io.pwrite = counted_pwrite;
    io.truncate = counted_truncate;
    io.rename = counted_rename;
    io.link = counted_link;
    io.unlink = counted_unlink;
    io.mkdir = counted_mkdir;
}

/* Copies the base of the test, opens it, and runs `act`, which is killed before its n-th change of the disk; false if
 * it made fewer. */
static bool killed_after(int calls, void (*act)(struct journal *j))
{
    CHECK_EQ(run("rm -rf data; cp -a base data"), 0);
    pid_t child = unit_fork();
    if (child == 0) {
        struct store *s = open_store();
        struct journal *j = open_journal_with(s, "t", ten_each);
        count_calls(calls);
        act(j);
        io = real;
        _exit(0);
    }
    int status;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 99 || WEXITSTATUS(status) == 0);
    return WEXITSTATUS(status) == 99;
}

#endif
