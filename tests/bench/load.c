/*
 * A load generator for HTTP/1.1 on keep-alive connections, and for the protocols of other brokers (tests/bench/wire):
 * load [options] URL; --help lists them.
 *
 * Closed loop by default: each connection sends as soon as it has its answer. With -r requests are due at a constant
 * rate, and latency counts from when a request was due, so that a server that stalls does not also stall the
 * measurement. Each thread has its own connections, epoll and figures, which are added up at the end. A request costs
 * one send and one recv and touches no memory beyond the buffers, so that the figures show the server, not the load.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "figures.h"
#include "plan.h"

enum {
    IN_SIZE = 64 * KIB,
    FAILURES_MAX = 1000,      /* of connections, for each thread; then it gives up */
};
#define GRACE_NS (5 * NS_PER_S)  /* for answers that have not arrived at the end */

struct peer {                 /* one connection */
    int fd;
    unsigned number;
    bool busy;
    uint64_t due_ns;          /* when its request should have been sent */
    struct answer answer;
    struct iovec parts[2];    /* what is still to be sent */
    size_t got;
    uint64_t sequence;        /* of its next request, as a producer */
    char *in;                 /* bytes that arrived and were not taken yet; owned */
};

struct worker {
    const struct plan *plan;
    pthread_t thread;
    int poll;
    unsigned count, idle_count;
    struct peer *peers, **idle;
    uint64_t quota, sent, topic;
    double rate;              /* requests a nanosecond; 0: closed loop */
    struct figures figures;
};

/* ---- one connection ---- */

static void peer_open(struct worker *w, struct peer *p)
{
    const struct addrinfo *a = w->plan->address;
    int on = 1;
    p->fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (p->fd < 0)
        fail("socket", strerror(errno));
    if (connect(p->fd, a->ai_addr, a->ai_addrlen) < 0)
        fail("connect", strerror(errno));
    setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (w->plan->wire->greet && !w->plan->wire->greet(p->fd, &w->plan->order, p->number))
        fail("greeting", "the server did not take it");
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = p};
    epoll_ctl(w->poll, EPOLL_CTL_ADD, p->fd, &e);
    p->got = 0;
}

static void peer_idle(struct worker *w, struct peer *p)
{
    p->busy = false;
    w->idle[w->idle_count++] = p;
}

static void peer_reopen(struct worker *w, struct peer *p)
{
    close(p->fd);
    peer_open(w, p);
    if (p->busy)
        peer_idle(w, p);
}

static void peer_fail(struct worker *w, struct peer *p)
{
    if (++w->figures.failures > FAILURES_MAX)
        fail("giving up", "1000 connections of one thread have failed");
    peer_reopen(w, p);
}

static void peer_wait_for(struct worker *w, struct peer *p, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = p};
    epoll_ctl(w->poll, EPOLL_CTL_MOD, p->fd, &e);
}

static void parts_drop(struct peer *p, size_t n)
{
    for (int i = 0; i < 2; i++) {
        size_t take = n < p->parts[i].iov_len ? n : p->parts[i].iov_len;
        p->parts[i].iov_base = (char *)p->parts[i].iov_base + take;
        p->parts[i].iov_len -= take;
        n -= take;
    }
}

static bool peer_send(struct worker *w, struct peer *p)
{
    size_t all = p->parts[0].iov_len + p->parts[1].iov_len;
    struct msghdr m = {.msg_iov = p->parts, .msg_iovlen = p->parts[1].iov_len ? 2 : 1};
    ssize_t n = sendmsg(p->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno != EAGAIN)
        return false;
    parts_drop(p, n < 0 ? 0 : (size_t)n);
    if (n < 0 || (size_t)n < all)
        peer_wait_for(w, p, EPOLLIN | EPOLLOUT);
    return true;
}

static void number_write(char *to, uint64_t number)
{
    for (int i = NUMBER_DIGITS - 1; i >= 0; i--, number /= 10)
        to[i] = (char)('0' + number % 10);
}

static void peer_request(struct worker *w, struct peer *p, uint64_t due_ns)
{
    const struct plan *plan = w->plan;
    const struct wire *wire = plan->wire;
    bool own = wire->own_requests || plan->numbers;
    const struct buf *head = &plan->heads[own ? p->number : w->topic++ % plan->head_count];
    if (plan->numbers)
        number_write(head->data + plan->numbers[p->number], p->sequence++);
    p->busy = true;
    p->due_ns = due_ns;
    p->answer = (struct answer){.bodiless = plan->bodiless, .replies = wire->reply_each ? plan->each : 1};
    p->parts[0] = (struct iovec){head->data, buf_size(head)};
    p->parts[1] = (struct iovec){plan->body.data, wire->body_apart ? buf_size(&plan->body) : 0};
    w->sent++;
    if (!peer_send(w, p))
        peer_fail(w, p);
}

/* ---- answers ---- */

/* 1: the answer is whole; 0: not yet; -1: it is not a valid answer. */
static int answer_take(const struct worker *w, struct peer *p)
{
    size_t took = 0;
    int rc = w->plan->wire->take(&p->answer, p->in, p->got, &took);
    if (rc == 0 && took == 0 && p->got == IN_SIZE)
        return -1;
    p->got -= took;
    memmove(p->in, p->in + took, p->got);
    return rc > 0 && p->got > 0 ? -1 : rc;
}

static void peer_done(struct worker *w, struct peer *p)
{
    uint64_t now = clock_ns();
    figures_record(&w->figures, p->answer.status, now > p->due_ns ? now - p->due_ns : 0);
    if (p->answer.closing)
        peer_reopen(w, p);
    else if (w->rate > 0 || w->sent >= w->quota || now >= w->plan->end_ns)
        peer_idle(w, p);
    else
        peer_request(w, p, now);
}

static void peer_readable(struct worker *w, struct peer *p)
{
    ssize_t n = recv(p->fd, p->in + p->got, IN_SIZE - p->got, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0 && p->answer.to_end) {
        p->answer.closing = true;
        peer_done(w, p);
    } else if (n <= 0 || (!p->busy && !w->plan->wire->speaks_unasked)) {
        peer_fail(w, p);
    } else {
        w->figures.bytes += (uint64_t)n;
        p->got += (size_t)n;
        int rc = answer_take(w, p);
        if (rc < 0)
            peer_fail(w, p);
        else if (rc > 0 && p->busy)
            peer_done(w, p);
    }
}

static void peer_ready(struct worker *w, struct peer *p, uint32_t events)
{
    if (events & EPOLLOUT) {
        peer_wait_for(w, p, EPOLLIN);
        if (!peer_send(w, p)) {
            peer_fail(w, p);
            return;
        }
    }
    if (events & ~(uint32_t)EPOLLOUT)
        peer_readable(w, p);
}

/* ---- one thread ---- */

/* When request number n is due. */
static uint64_t due_at(const struct worker *w, uint64_t n)
{
    return w->rate > 0 ? w->plan->began_ns + (uint64_t)((double)n / w->rate) : clock_ns();
}

static void send_due(struct worker *w)
{
    while (w->idle_count > 0 && w->sent < w->quota) {
        uint64_t due = due_at(w, w->sent), now = clock_ns();
        if (due > now || now >= w->plan->end_ns)
            return;
        peer_request(w, w->idle[--w->idle_count], due);
    }
}

/* The time until something is due, if no socket becomes ready before. */
static struct timespec next_wait(const struct worker *w, bool over)
{
    uint64_t now = clock_ns(), until = w->plan->end_ns + (over ? GRACE_NS : 0);
    if (w->rate > 0 && !over && w->idle_count > 0 && due_at(w, w->sent) < until)
        until = due_at(w, w->sent);
    uint64_t ns = until > now ? until - now : 0;
    return (struct timespec){.tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S)};
}

static void poll_once(struct worker *w, bool over)
{
    struct epoll_event events[256];
    struct timespec wait = next_wait(w, over);
    int n = epoll_pwait2(w->poll, events, 256, &wait, NULL);
    for (int i = 0; i < n; i++)
        peer_ready(w, events[i].data.ptr, events[i].events);
}

static void *worker_run(void *arg)
{
    struct worker *w = arg;
    uint64_t end = w->plan->end_ns;
    while (clock_ns() < end && (w->sent < w->quota || w->idle_count < w->count)) {
        send_due(w);
        poll_once(w, false);
    }
    while (w->idle_count < w->count && clock_ns() < end + GRACE_NS)
        poll_once(w, true);
    w->figures.failures += w->count - w->idle_count;
    if (w->rate > 0) {
        uint64_t due = (uint64_t)((double)(end - w->plan->began_ns) * w->rate);
        due = due < w->quota ? due : w->quota;
        w->figures.unsent = due > w->sent ? due - w->sent : 0;
    }
    return NULL;
}

static void worker_init(struct worker *w, const struct plan *plan, unsigned index)
{
    const struct options *o = &plan->options;
    w->plan = plan;
    w->count = o->connections / o->threads + (index < o->connections % o->threads);
    w->quota = o->requests ? o->requests / o->threads + (index < o->requests % o->threads) : UINT64_MAX;
    w->rate = (double)o->rate / (double)o->threads / 1e9;
    w->topic = index;
    w->poll = epoll_create1(EPOLL_CLOEXEC);
    w->peers = mem_new(w->count * sizeof *w->peers);
    w->idle = mem_new(w->count * sizeof *w->idle);
    for (unsigned i = 0; i < w->count; i++) {
        w->peers[i].number = index + i * o->threads;
        w->peers[i].in = mem_resize(NULL, IN_SIZE);
        peer_open(w, &w->peers[i]);
        peer_idle(w, &w->peers[i]);
    }
}

/* ---- main ---- */

/* The clock of all threads starts when all connections are open. */
static void run(struct plan *plan, struct worker *workers, struct results *r)
{
    unsigned threads = plan->options.threads;
    for (unsigned i = 0; i < threads; i++)
        worker_init(&workers[i], plan, i);
    uint64_t cpu = clock_cpu_ns();
    plan->began_ns = clock_ns();
    plan->end_ns = plan->began_ns + (uint64_t)(plan->options.seconds * 1e9);
    for (unsigned i = 0; i < threads; i++)
        if (pthread_create(&workers[i].thread, NULL, worker_run, &workers[i]) != 0)
            fail("threads", "cannot start one");
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(workers[i].thread, NULL);
        figures_add(&r->figures, &workers[i].figures);
    }
    r->seconds = (double)(clock_ns() - plan->began_ns) / 1e9;
    r->cpu_seconds = (double)(clock_cpu_ns() - cpu) / 1e9;
}

int main(int argc, char **argv)
{
    static struct plan plan;
    static struct worker workers[THREADS_MAX];
    static struct results r;
    options_read(&plan.options, argc, argv);
    plan_make(&plan);
    run(&plan, workers, &r);
    r.body_size = buf_size(&plan.body);
    r.messages_each = plan.each;
    if (plan.options.json)
        results_print_json(&r);
    else
        results_print(&r);
    return results_good(&r) ? 0 : 1;
}
