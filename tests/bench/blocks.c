/*
 * What an fdatasync costs after a small write, by what the blocks were before: only allocated; written with zeros all
 * before; or written with zeros ahead of the writes, as zero_ahead.h does it (its cost included).
 *
 *     blocks DIR      prints a table: median and mean microseconds of 500 writes with a sync each, three rounds
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { WRITES = 500, SPACE = 16 * 1024 * 1024, BLOCK = 4096, AHEAD = 256 * 1024, SIZES = 4, WAYS = 3, ROUNDS = 3 };

static const char *const ways[WAYS] = {"only allocated", "zeros before", "zeros ahead"};
static const size_t sizes[SIZES] = {172, 1024, 5000, 16000};
static char zeros[SPACE], bytes[16000];
static double took[SIZES][WAYS][ROUNDS * WRITES];

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void check(long rc, const char *what)
{
    if (rc >= 0)
        return;
    perror(what);
    exit(74);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void measure(const char *path, size_t size, int way, double *out)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    check(fd, path);
    check(-posix_fallocate(fd, 0, SPACE), "posix_fallocate");
    for (off_t at = 0; way == 1 && at < SPACE; at += BLOCK)
        check(pwrite(fd, zeros, BLOCK, at), "pwrite");
    check(fsync(fd), "fsync");
    off_t end = 0, zeroed = 0;
    for (int i = 0; i < WRITES; i++) {
        double begun = now_us();
        check(pwrite(fd, bytes, size, end), "pwrite");
        end += (off_t)size;
        if (way == 2 && end > zeroed) {
            off_t from = (end + BLOCK - 1) / BLOCK * BLOCK;
            zeroed = from + AHEAD < SPACE ? from + AHEAD : SPACE;
            check(pwrite(fd, zeros, (size_t)(zeroed - from), from), "pwrite");
        }
        check(fdatasync(fd), "fdatasync");
        out[i] = now_us() - begun;
    }
    close(fd);
    unlink(path);
}

int main(int argc, char **argv)
{
    char path[4096];
    if (argc != 2)
        return fprintf(stderr, "usage: blocks DIR\n"), 64;
    snprintf(path, sizeof path, "%s/blocks.%d", argv[1], (int)getpid());
    memset(bytes, 'x', sizeof bytes);
    for (int round = 0; round < ROUNDS; round++)
        for (int s = 0; s < SIZES; s++)
            for (int w = 0; w < WAYS; w++)
                measure(path, sizes[s], w, took[s][w] + round * WRITES);
    printf("%8s %-16s %8s %8s\n", "bytes", "blocks", "median", "mean");
    for (int s = 0; s < SIZES; s++)
        for (int w = 0; w < WAYS; w++) {
            double sum = 0;
            for (int i = 0; i < ROUNDS * WRITES; i++)
                sum += took[s][w][i];
            qsort(took[s][w], ROUNDS * WRITES, sizeof(double), compare);
            double median = took[s][w][ROUNDS * WRITES / 2];
            printf("%8zu %-16s %8.0f %8.0f\n", sizes[s], ways[w], median, sum / (ROUNDS * WRITES));
        }
    return 0;
}
