/*
 * One message to many readers: N connections long-poll for the next offset, and one more publishes. When all have their
 * answers, they ask for the following offset. Latency is the time from sending the publish to each reader's whole
 * answer.
 *
 *     fanout HOST:PORT READERS SECONDS      the topic is "fanout-READERS", which must be empty or absent
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "bench/figures.h"
#include "bench/wire/wire.h"

enum { EVENTS = 256, IN_SIZE = 4 * KIB, PARK_US = 2000 };

struct client {
    int fd;
    bool publishes;
    struct answer answer;
    size_t got;
    char in[IN_SIZE];
};

static struct sockaddr_in address = {.sin_family = AF_INET};
static struct results results;
static int poll_fd;
static unsigned waiting;      /* clients whose answer has not arrived */
static uint64_t published_ns;

static _Noreturn void give_up(const char *why)
{
    fprintf(stderr, "fanout: %s\n", why);
    exit(1);
}

static void client_open(struct client *c)
{
    int on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address) < 0)
        give_up("cannot connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, c->fd, &(struct epoll_event){.events = EPOLLIN, .data.ptr = c});
}

static void client_ask(struct client *c, const char *text)
{
    c->answer = (struct answer){0};
    if (!send_all(c->fd, slice_from(text)))
        give_up("cannot send");
    waiting++;
}

static void client_readable(struct client *c)
{
    size_t took = 0;
    ssize_t n = recv(c->fd, c->in + c->got, IN_SIZE - c->got, 0);
    if (n <= 0)
        give_up("the broker closed a connection");
    c->got += (size_t)n;
    int rc = wire_http.take(&c->answer, c->in, c->got, &took);
    c->got -= took;
    if (rc < 0 || (rc > 0 && c->answer.status != 200))
        give_up("an answer other than 200");
    if (rc == 0)
        return;
    waiting--;
    if (!c->publishes)
        figures_record(&results.figures, 200, clock_ns() - published_ns);
}

static void wait_all(void)
{
    struct epoll_event events[EVENTS];
    while (waiting > 0) {
        int n = epoll_wait(poll_fd, events, EVENTS, 10 * MS_PER_S);
        if (n <= 0)
            give_up("a reader got nothing for 10 s");
        for (int i = 0; i < n; i++)
            client_readable(events[i].data.ptr);
    }
}

/* One message of 100 bytes to all. Before it, the readers get a moment to be parked, which is not measured. */
static void one_round(struct client *clients, unsigned readers, uint64_t offset)
{
    char ask[256], publish[256];
    snprintf(ask, sizeof ask, "GET /v1/topics/fanout-%u/messages?from=%ju&wait=30 HTTP/1.1\r\nHost: localhost\r\n\r\n",
             readers, offset);
    snprintf(publish, sizeof publish, "POST /v1/topics/fanout-%u/messages HTTP/1.1\r\nHost: localhost\r\n"
             "Content-Length: 100\r\n\r\n%0100ju", readers, offset);
    for (unsigned i = 1; i <= readers && offset > 0; i++)
        client_ask(&clients[i], ask);
    usleep(offset > 0 ? PARK_US + readers * 10 : 0);
    published_ns = clock_ns();
    client_ask(&clients[0], publish);
    wait_all();
    results.seconds += (double)(clock_ns() - published_ns) / 1e9;
}

int main(int argc, char **argv)
{
    char *colon = argc == 4 ? strchr(argv[1], ':') : NULL;
    if (!colon)
        return 64;
    unsigned readers = (unsigned)atoi(argv[2]);
    uint64_t end = clock_ns() + (uint64_t)(strtod(argv[3], NULL) * 1e9), cpu = clock_cpu_ns();
    *colon = 0;
    inet_pton(AF_INET, argv[1], &address.sin_addr);
    address.sin_port = htons((uint16_t)atoi(colon + 1));
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct client *clients = mem_new((readers + 1) * sizeof *clients);
    clients[0].publishes = true;
    for (unsigned i = 0; i <= readers; i++)
        client_open(&clients[i]);
    for (uint64_t offset = 0; clock_ns() < end; offset++)
        one_round(clients, readers, offset);
    results.messages_each = 1;
    results.cpu_seconds = (double)(clock_cpu_ns() - cpu) / 1e9;
    results_print_json(&results);
    return 0;
}
