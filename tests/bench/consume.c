/*
 * Consumers of a work queue that is full, each on a connection of its own: a step takes messages and acknowledges
 * those of the step before, in one write. It ends with its time, or when there are no more messages.
 *
 *     consume -c CONNECTIONS -k MESSAGES -d SECONDS URL
 *
 *     http://HOST:PORT/v1/topics/T/groups/G   Lignum: a claim with the settle, answered when it is durable
 *     redis://HOST:PORT/KEY/GROUP             XACK and XREADGROUP
 *     nats://HOST:PORT/STREAM/CONSUMER        a pull request; each acknowledgement is confirmed
 *     amqp://HOST:PORT/QUEUE.TYPE             a consumer, prefetch of two steps; no acknowledgement is confirmed
 *     beanstalk://HOST:PORT/                  delete and reserve, for each message
 *
 * Prints one JSON object, as load does.
 */
#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "bench/figures.h"
#include "bench/queues.h"

enum { IN_SIZE = 256 * 1024, EVENTS = 256 };

static const struct source *source_find(slice scheme)
{
    for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++)
        if (slice_eq(scheme, slice_from(sources[i].scheme)))
            return &sources[i];
    fail(o.url, "not a URL of a known scheme");
}

static void peer_open(struct peer *p, const struct wire *wire, const struct addrinfo *a)
{
    int on = 1;
    p->fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (p->fd < 0 || connect(p->fd, a->ai_addr, a->ai_addrlen) < 0)
        fail("connect", strerror(errno));
    setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (wire->greet != NULL && !wire->greet(p->fd, &o.order, p->number))
        fail("greeting", "the server did not take it");
}

/* The next step: what was taken is acknowledged. */
static void peer_step(struct peer *p, const struct source *s)
{
    struct buf last = p->tokens;
    p->tokens = p->next;
    p->next = last;
    buf_clear(&p->next);
    p->acks = p->got;
    p->taken += p->got;
    p->got = p->confirmed = 0;
    buf_clear(&p->out);
    s->make(p);
    p->begun = true;
    p->began_ns = clock_ns();
    if (!send_all(p->fd, buf_slice(&p->out)))
        fail("send", strerror(errno));
}

/* True when its last step is over. */
static bool peer_read(struct peer *p, const struct source *s, uint64_t end_ns, struct figures *f)
{
    ssize_t n = recv(p->fd, buf_reserve(&p->in, IN_SIZE), IN_SIZE, MSG_DONTWAIT);
    if (n <= 0 && errno != EAGAIN)
        fail("receive", n == 0 ? "the server closed" : strerror(errno));
    if (n > 0) {
        p->in.end += (size_t)n;
        f->bytes += (uint64_t)n;
    }
    for (int rc; (rc = s->take(p)) != 0;) {
        uint64_t now = clock_ns();
        if (rc < 0)
            fail_at(buf_slice(&p->in));
        if (p->got >= o.each)
            figures_record(f, 200, now - p->began_ns);
        if (p->empty || now >= end_ns)
            return true;
        peer_step(p, s);
        if (buf_size(&p->in) == 0)
            return false;
    }
    return false;
}

static void run(const struct source *s, struct peer *peers, struct results *r)
{
    int poll = epoll_create1(EPOLL_CLOEXEC);
    uint64_t began = clock_ns(), cpu = clock_cpu_ns(), end = began + (uint64_t)(o.seconds * 1e9);
    unsigned left = o.connections;
    for (unsigned i = 0; i < o.connections; i++) {
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = &peers[i]};
        epoll_ctl(poll, EPOLL_CTL_ADD, peers[i].fd, &e);
        peer_step(&peers[i], s);
    }
    while (left > 0 && clock_ns() < end + NS_PER_S) {
        struct epoll_event events[EVENTS];
        int n = epoll_wait(poll, events, EVENTS, 100);
        for (int i = 0; i < n; i++) {
            struct peer *p = events[i].data.ptr;
            if (!peer_read(p, s, end, &r->figures))
                continue;
            epoll_ctl(poll, EPOLL_CTL_DEL, p->fd, NULL);
            left--;
        }
    }
    uint64_t now = clock_ns();
    r->seconds = (double)((now < end ? now : end) - began) / 1e9;
    r->cpu_seconds = (double)(clock_cpu_ns() - cpu) / 1e9;
    r->messages_each = o.each;
}

static void url_read(slice *scheme)
{
    slice rest;
    const char *at = strstr(o.url, "://");
    if (at == NULL)
        fail(o.url, "not a URL");
    *scheme = slice_of(o.url, (size_t)(at - o.url));
    rest = slice_from(at + 3);
    slice_split(&rest, '/', &o.host);
    o.first = rest;
    o.order = (struct order){.host = o.host, .path = slice_of(rest.p - 1, rest.n + 1)};
    if (!slice_eq(*scheme, SLICE("http"))) {
        o.second = rest;
        slice_split(&o.second, '/', &o.first);
    }
}

int main(int argc, char **argv)
{
    static struct results r;
    slice scheme, unused;
    struct addrinfo *address, hints = {.ai_socktype = SOCK_STREAM};
    for (int c; (c = getopt(argc, argv, "c:k:d:")) != -1;) {
        if (c == 'c')
            o.connections = (unsigned)atoi(optarg);
        else if (c == 'k')
            o.each = (unsigned)atoi(optarg);
        else if (c == 'd')
            o.seconds = atof(optarg);
        else
            return 64;
    }
    if (optind != argc - 1 || o.connections < 1 || o.each < 1)
        fail("usage", "consume -c CONNECTIONS -k MESSAGES -d SECONDS URL");
    o.url = argv[optind];
    url_read(&scheme);
    const struct source *s = source_find(scheme);
    const struct wire *wire = wire_find(slice_from(o.url), &unused);
    char host[256], *port;
    snprintf(host, sizeof(host), "%.*s", SLICE_ARGS(o.host));
    if ((port = strrchr(host, ':')) == NULL)
        fail(o.url, "no port");
    *port++ = '\0';
    if (getaddrinfo(host, port, &hints, &address) != 0)
        fail(host, "not known");
    struct peer *peers = mem_new(o.connections * sizeof(*peers));
    for (unsigned i = 0; i < o.connections; i++) {
        peers[i].number = i;
        peer_open(&peers[i], wire, address);
    }
    run(s, peers, &r);
    results_print_json(&r);
    return results_good(&r) ? 0 : 1;
}
