/*
 * What the hardware allows: the smallest program that does the work of a durable publish. It reads POST requests with
 * a Content-Length from keep-alive connections, appends each body to one preallocated file, and answers after an
 * fdatasync, which a thread of its own makes for all bodies that have gathered meanwhile. Like Lignum, it writes zeros
 * ahead of them, so that a sync overwrites blocks. It has no Lua, no checksums, no index, no limits and no robustness:
 * it is a ceiling to measure against, not a server.
 *
 * With FILES it has that many files, as a broker has topics: a body goes to the file whose number follows the first "-"
 * of the request, and one syncfs covers all of them.
 *
 *     bare PORT FILE [nosync | FILES]
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    CONNECTIONS = 1024, BUFFER = 64 * 1024, PENDING = 1024 * 1024, EVENTS = 256,
    SPACE = 1024 * 1024 * 1024,            /* of all files together */
    AHEAD = 256 * 1024, BLOCK = 4096,
};

struct client {
    int fd;
    size_t have;
    char in[BUFFER];
    struct client *next;                   /* in the list of clients that wait for the disk */
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t work;
    bool wanted, busy;
    int done_fd;
} disk = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, false, -1};

static struct client *clients[CONNECTIONS + 64];
static struct client *waiting, *syncing;   /* appended since the last sync began; covered by it */
static char pending[PENDING];
static size_t pending_size;
static struct file {
    int fd;
    off_t position, zeroed;
} *files;
static unsigned file_count = 1;
static bool nosync;

static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";

static void *disk_thread(void *arg)
{
    (void)arg;
    for (;;) {
        uint64_t one = 1;
        pthread_mutex_lock(&disk.lock);
        while (!disk.wanted)
            pthread_cond_wait(&disk.work, &disk.lock);
        disk.wanted = false;
        pthread_mutex_unlock(&disk.lock);
        if ((file_count > 1 ? syncfs(files->fd) : fdatasync(files->fd)) < 0)
            abort();
        if (write(disk.done_fd, &one, sizeof(one)) < 0)
            abort();
    }
    return NULL;
}

static void answer_all(struct client **list)
{
    for (struct client *c = *list; c != NULL; c = c->next)
        if (write(c->fd, answer, sizeof(answer) - 1) < 0)
            c->have = 0;
    *list = NULL;
}

static void append(struct file *f, const char *bytes, size_t size)
{
    if (pwrite(f->fd, bytes, size, f->position) < 0)
        abort();
    f->position += (off_t)size;
}

static void zero_ahead(struct file *f)
{
    static const char zeros[AHEAD];
    off_t at = (f->position + BLOCK - 1) / BLOCK * BLOCK;
    if (f->position > f->zeroed && pwrite(f->fd, zeros, sizeof(zeros), at) < 0)
        abort();
    if (f->position > f->zeroed)
        f->zeroed = at + AHEAD;
}

/* With many files a body is written at once, because no two bodies of a turn would share a write. */
static void take_body(const struct client *c, const char *body, size_t size)
{
    const char *number = file_count > 1 ? memchr(c->in, '-', (size_t)(body - c->in)) : NULL;
    if (number) {
        append(&files[strtoul(number + 1, NULL, 10) % file_count], body, size);
    } else {
        memcpy(pending + pending_size, body, size);
        pending_size += size;
    }
}

/* Takes a whole request from the front of the buffer: its body is added to the pending bytes. */
static bool take_request(struct client *c)
{
    char *end = memmem(c->in, c->have, "\r\n\r\n", 4);
    if (end == NULL)
        return false;
    char *length = memmem(c->in, (size_t)(end - c->in), "Content-Length: ", 16);
    size_t size = length == NULL ? 0 : strtoul(length + 16, NULL, 10);
    size_t head = (size_t)(end - c->in) + 4;
    if (c->have < head + size || pending_size + size > PENDING)
        return false;
    take_body(c, c->in + head, size);
    c->have -= head + size;
    memmove(c->in, c->in + head + size, c->have);
    c->next = waiting;
    waiting = c;
    return true;
}

static void flush(void)
{
    if (pending_size > 0) {
        append(files, pending, pending_size);
        zero_ahead(files);
    }
    pending_size = 0;
    if (nosync) {
        answer_all(&waiting);
        return;
    }
    if (disk.busy || waiting == NULL)
        return;
    syncing = waiting;
    waiting = NULL;
    disk.busy = true;
    pthread_mutex_lock(&disk.lock);
    disk.wanted = true;
    pthread_cond_signal(&disk.work);
    pthread_mutex_unlock(&disk.lock);
}

static void on_event(int epoll, int listener, int fd)
{
    uint64_t count;
    if (fd == listener) {
        int new_fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
        if (new_fd < 0 || new_fd >= CONNECTIONS + 64)
            abort();
        struct epoll_event e = {.events = EPOLLIN, .data.fd = new_fd};
        setsockopt(new_fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        clients[new_fd] = calloc(1, sizeof(struct client));
        clients[new_fd]->fd = new_fd;
        epoll_ctl(epoll, EPOLL_CTL_ADD, new_fd, &e);
    } else if (fd == disk.done_fd) {
        if (read(fd, &count, sizeof(count)) > 0)
            disk.busy = false;
        answer_all(&syncing);
    } else {
        struct client *c = clients[fd];
        ssize_t n = read(fd, c->in + c->have, BUFFER - c->have);
        if (n > 0) {
            c->have += (size_t)n;
            take_request(c);
        } else if (n == 0) {
            close(fd);
        }
    }
}

static void file_open(struct file *f, const char *name, unsigned number)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s.%u", name, number);
    f->fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (f->fd < 0 || posix_fallocate(f->fd, 0, SPACE / file_count) != 0 || fsync(f->fd) < 0)
        exit(74);
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 64;
    nosync = argc > 3 && strcmp(argv[3], "nosync") == 0;
    if (argc > 3 && !nosync && (file_count = (unsigned)atoi(argv[3])) == 0)
        return 64;
    files = calloc(file_count, sizeof(*files));
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1])),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    int epoll = epoll_create1(0);
    pthread_t thread;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(listener, CONNECTIONS) < 0)
        return 1;
    for (unsigned i = 0; i < file_count; i++)
        file_open(&files[i], argv[2], i);
    disk.done_fd = eventfd(0, EFD_NONBLOCK);
    pthread_create(&thread, NULL, disk_thread, NULL);
    int fds[] = {listener, disk.done_fd};
    for (int i = 0; i < 2; i++) {
        struct epoll_event e = {.events = EPOLLIN, .data.fd = fds[i]};
        epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i], &e);
    }
    for (;;) {
        struct epoll_event events[EVENTS];
        int n = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < n; i++)
            on_event(epoll, listener, events[i].data.fd);
        flush();
    }
}
