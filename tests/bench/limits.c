/*
 * The limits of this machine's disk and loopback, measured by programs that do nothing else, to compare the figures
 * of a broker with. Prints JSON.
 *
 *     limits DIRECTORY SECONDS-EACH
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"

enum { FILE_SIZE = 1024 * MIB, PAGE = 4 * KIB, PAIRS = 64, ASK = 200, EVENTS = 256 };

static double seconds_each;

static void must(bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "limits: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double seconds_since(uint64_t began)
{
    return (double)(clock_ns() - began) / 1e9;
}

/* ---- the disk ---- */

/* Appends pieces to a preallocated file, each followed by an fdatasync: pieces a second. */
static double measure_sync(int file, size_t piece)
{
    char *data = mem_new(piece);
    off_t at = 0;
    unsigned count = 0;
    uint64_t began = clock_ns();
    memset(data, 'x', piece);
    for (; seconds_since(began) < seconds_each; count++, at += (off_t)piece) {
        if (at + (off_t)piece > FILE_SIZE)
            at = 0;
        must(pwrite(file, data, piece, at) == (ssize_t)piece && fdatasync(file) == 0, "write");
    }
    double rate = count / seconds_since(began);
    mem_free(data);
    return rate;
}

/* Reads the file from the disk, not from the page cache: MB/s. */
static double measure_cold_read(int file)
{
    char *data = mem_new(MIB);
    size_t got = 0;
    ssize_t n;
    must(fdatasync(file) == 0 && posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED) == 0, "fadvise");
    posix_fadvise(file, 0, 0, POSIX_FADV_SEQUENTIAL);
    uint64_t began = clock_ns();
    while (seconds_since(began) < seconds_each && (n = pread(file, data, MIB, (off_t)got)) > 0)
        got += (size_t)n;
    mem_free(data);
    return (double)got / 1e6 / seconds_since(began);
}

/* ---- loopback ---- */

static void pair_open(int pair[2])
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    must(bind(listener, (struct sockaddr *)&a, size) == 0 && listen(listener, 1) == 0, "listen");
    getsockname(listener, (struct sockaddr *)&a, &size);
    pair[0] = socket(AF_INET, SOCK_STREAM, 0);
    must(connect(pair[0], (struct sockaddr *)&a, size) == 0, "connect");
    pair[1] = accept(listener, NULL, NULL);
    for (int i = 0; i < 2; i++)
        setsockopt(pair[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    close(listener);
}

static void *drain(void *arg)
{
    char *data = mem_new(64 * KIB);
    while (recv(*(int *)arg, data, 64 * KIB, 0) > 0)
        continue;
    mem_free(data);
    return NULL;
}

/* sendfile of a file in the page cache, in pieces, to one reader: MB/s. */
static double measure_sendfile(int file, size_t piece)
{
    int pair[2];
    pthread_t reader;
    off_t at = 0;
    size_t sent = 0;
    pair_open(pair);
    pthread_create(&reader, NULL, drain, &pair[1]);
    uint64_t began = clock_ns();
    while (seconds_since(began) < seconds_each) {
        at = at + (off_t)piece > 64 * MIB ? 0 : at;
        ssize_t n = sendfile(pair[0], file, &at, piece);
        must(n > 0, "sendfile");
        sent += (size_t)n;
    }
    shutdown(pair[0], SHUT_WR);
    pthread_join(reader, NULL);
    double rate = (double)sent / 1e6 / seconds_since(began);
    close(pair[0]);
    close(pair[1]);
    return rate;
}

struct asked {
    int file, socket;
    size_t piece;
};

static void *answer_each(void *arg)
{
    struct asked *a = arg;
    char ask[ASK];
    off_t at = 0;
    while (recv(a->socket, ask, ASK, MSG_WAITALL) == ASK) {
        at = at + (off_t)a->piece > 64 * MIB ? 0 : at;
        off_t end = at + (off_t)a->piece;
        while (at < end)
            must(sendfile(a->socket, a->file, &at, (size_t)(end - at)) > 0, "sendfile");
    }
    return NULL;
}

/* The same, but each piece is requested when the one before has been read, as one reader of a server does. */
static double measure_asked(int file, size_t piece)
{
    static const char ask[ASK];
    int pair[2];
    pthread_t server;
    size_t got = 0;
    char *data = mem_new(64 * KIB);
    pair_open(pair);
    struct asked a = {file, pair[0], piece};
    pthread_create(&server, NULL, answer_each, &a);
    uint64_t began = clock_ns();
    while (seconds_since(began) < seconds_each) {
        must(send(pair[1], ask, ASK, MSG_NOSIGNAL) == ASK, "send");
        for (size_t left = piece; left > 0;) {
            ssize_t n = recv(pair[1], data, left < 64 * KIB ? left : 64 * KIB, 0);
            must(n > 0, "recv");
            left -= (size_t)n;
            got += (size_t)n;
        }
    }
    double rate = (double)got / 1e6 / seconds_since(began);
    shutdown(pair[1], SHUT_WR);
    pthread_join(server, NULL);
    close(pair[0]);
    close(pair[1]);
    mem_free(data);
    return rate;
}

struct side {
    int poll;
    pthread_t thread;
    atomic_bool *over;
    uint64_t answers;
};

/* Both sides answer what they read with the same number of bytes. */
static void *bounce(void *arg)
{
    struct side *s = arg;
    struct epoll_event events[EVENTS];
    char data[ASK];
    while (!atomic_load_explicit(s->over, memory_order_relaxed)) {
        int n = epoll_wait(s->poll, events, EVENTS, 10);
        for (int i = 0; i < n; i++)
            if (recv(events[i].data.fd, data, ASK, 0) > 0)
                s->answers += send(events[i].data.fd, data, ASK, MSG_NOSIGNAL) > 0;
    }
    return NULL;
}

/* 200 bytes each way on some connections, with one thread on each side: round trips a second. */
static double measure_round_trips(int pairs)
{
    static const char ask[ASK];
    atomic_bool over = false;
    struct side sides[2] = {{.over = &over}, {.over = &over}};
    int fds[PAIRS][2];
    for (int s = 0; s < 2; s++)
        sides[s].poll = epoll_create1(0);
    for (int i = 0; i < pairs; i++) {
        pair_open(fds[i]);
        for (int s = 0; s < 2; s++)
            epoll_ctl(sides[s].poll, EPOLL_CTL_ADD, fds[i][s],
                      &(struct epoll_event){.events = EPOLLIN, .data.fd = fds[i][s]});
        must(send(fds[i][0], ask, ASK, 0) == ASK, "send");
    }
    uint64_t began = clock_ns();
    for (int s = 0; s < 2; s++)
        pthread_create(&sides[s].thread, NULL, bounce, &sides[s]);
    usleep((useconds_t)(seconds_each * 1e6));
    atomic_store(&over, true);
    for (int s = 0; s < 2; s++)
        pthread_join(sides[s].thread, NULL);
    double rate = (double)sides[0].answers / seconds_since(began);
    for (int i = 0; i < pairs; i++)
        close(fds[i][0]), close(fds[i][1]);
    return rate;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 64;
    char path[4096];
    snprintf(path, sizeof path, "%s/limits.data", argv[1]);
    seconds_each = strtod(argv[2], NULL);
    int file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    must(file >= 0 && posix_fallocate(file, 0, FILE_SIZE) == 0 && fsync(file) == 0, path);
    printf("{\"fdatasync_4k_per_s\": %.0f, ", measure_sync(file, PAGE));
    printf("\"disk_1m_mb_per_s\": %.0f, ", measure_sync(file, MIB) * MIB / 1e6);
    for (off_t at = 0; at < FILE_SIZE; at += MIB) {
        static const char data[MIB] = {1};
        must(pwrite(file, data, MIB, at) == MIB, "write");
    }
    printf("\"cold_read_mb_per_s\": %.0f, ", measure_cold_read(file));
    printf("\"sendfile_64k_mb_per_s\": %.0f, ", measure_sendfile(file, 64 * KIB));
    printf("\"sendfile_1m_mb_per_s\": %.0f, ", measure_sendfile(file, MIB));
    printf("\"asked_64k_mb_per_s\": %.0f, ", measure_asked(file, 64 * KIB));
    printf("\"asked_1m_mb_per_s\": %.0f, ", measure_asked(file, MIB));
    printf("\"asked_8m_mb_per_s\": %.0f, ", measure_asked(file, 8 * MIB));
    printf("\"round_trips_1_per_s\": %.0f, ", measure_round_trips(1));
    printf("\"round_trips_64_per_s\": %.0f}\n", measure_round_trips(PAIRS));
    unlink(path);
    return 0;
}
