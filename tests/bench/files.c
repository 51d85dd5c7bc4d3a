/*
 * What a filesystem allows to a program that gives each topic a directory and a file, as a broker does: makes COUNT of
 * them, each with one block of 4 KiB, and syncs the filesystem after each GROUP of them; then removes them in the same
 * way. Prints JSON.
 *
 *     files DIRECTORY COUNT GROUP
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"

static void must(bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "files: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void make_one(const char *folder, unsigned i)
{
    static const char block[4 * KIB] = "x";
    char path[4096];
    int n = snprintf(path, sizeof path, "%s/t%u", folder, i);
    must(mkdir(path, 0750) == 0, path);
    snprintf(path + n, sizeof path - (size_t)n, "/%020d.qwal", 0);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0640);
    must(fd >= 0 && write(fd, block, sizeof block) == (ssize_t)sizeof block && close(fd) == 0, path);
}

static void remove_one(const char *folder, unsigned i)
{
    char path[4096];
    int n = snprintf(path, sizeof path, "%s/t%u", folder, i);
    snprintf(path + n, sizeof path - (size_t)n, "/%020d.qwal", 0);
    must(unlink(path) == 0, path);
    path[n] = '\0';
    must(rmdir(path) == 0, path);
}

/* Seconds that it takes for all. */
static double each(void (*one)(const char *folder, unsigned i), char **argv, int root)
{
    unsigned count = (unsigned)strtoul(argv[2], NULL, 10), group = (unsigned)strtoul(argv[3], NULL, 10);
    uint64_t began = clock_ns();
    for (unsigned i = 1; i <= count; i++) {
        one(argv[1], i);
        if (i % group == 0 || i == count)
            must(syncfs(root) == 0, "syncfs");
    }
    return (double)(clock_ns() - began) / 1e9;
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 64;
    double count = strtod(argv[2], NULL);
    int root = open(argv[1], O_RDONLY | O_DIRECTORY);
    must(root >= 0, argv[1]);
    double making = each(make_one, argv, root), removing = each(remove_one, argv, root);
    printf("{\"files_per_s\": %.0f, \"removed_per_s\": %.0f}\n", count / making, count / removing);
    close(root);
    return 0;
}
