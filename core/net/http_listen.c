/*
 * Accepting. Above limits.connections a new client takes the place of an idle or slow one, or one of a few reserved
 * places, on which only health checks are served (http_request.c), or is refused. When there are no
 * descriptors left, accepting pauses until a connection closes or ACCEPT_PAUSE_NS have passed: the connections that
 * wait would wake the loop without end.
 */
#include <errno.h>
#include <event2/event.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/say.h"
#include "net/http_server.h"
#include "net/tls_server.h"

enum { LOOK_AT = 64 };                     /* clients of a kind, for one that gives way */
#define ACCEPT_PAUSE_NS (500 * NS_PER_MS)
#define SHORTAGE_SAID_NS (10 * NS_PER_S)   /* between two lines in the log */
#define YIELD_NS NS_PER_S                  /* a client that is idle or slow for this long gives way to a new one */

/* What the client has sent is discarded, because closing a socket with unread bytes resets the connection. One of TLS
 * would have to shake hands first to read an answer, and is only closed. */
static void socket_refuse(const struct listener *l, int fd)
{
    struct http_server *s = l->server;
    if (!s->refusal.data)
        refusal_render(s, &s->refusal,
                       &(struct http_refusal){-ERR_TOO_MANY, SLICE("too many connections"), 0, {0}}, NULL);
    slice answer = buf_slice(&s->refusal);
    s->stats.refused++;
    if (l->tls == NULL && send(fd, answer.p, answer.n, MSG_NOSIGNAL) >= 0) {
        shutdown(fd, SHUT_WR);
        recv(fd, NULL, DISCARD_PER_TURN, MSG_TRUNC);
    }
    close(fd);
}

/* The client whose deadline of this kind began first, if that was long enough ago; with `fair`, the first of the oldest
 * ones whose address holds its share of the connections. */
static struct client *longest(struct http_server *s, enum deadline_kind kind, bool fair)
{
    unsigned left = LOOK_AT;
    LIST_EACH(link, &s->deadlines.lists[kind]) {
        struct deadline *d = LIST_OWNER(link, struct deadline, link);
        struct client *c = LIST_OWNER(d, struct client, deadline);
        if (left-- == 0 || server_now(s) + s->deadlines.span_ns[kind] < d->at_ns + YIELD_NS)
            return NULL;
        if (!fair || client_has_share(c, HELD_CLIENTS))
            return c;
    }
    return NULL;
}

static void yield(struct client *c, enum deadline_kind kind)
{
    struct http_server *s = c->server;
    if (kind == DEADLINE_IDLE) {
        client_drain(c);
    } else {
        c->lost = true;
        s->stats.slow++;
        client_queue(kind == DEADLINE_WRITE ? &s->flushing : &s->arrived, c);
    }
    deadline_clear(&c->deadline);
}

/* Makes room for a new client: the one goes whose TLS handshake takes the longest, or that has been idle for the
 * longest; otherwise the one whose head, body or reading takes the longest. Clients of addresses that hold their share
 * go before all others. So those that send or read nothing keep out neither new clients nor Consul's health check,
 * without which a node does not lead. */
static bool slowest_yields(struct http_server *s)
{
    static const enum deadline_kind kinds[] = {DEADLINE_SHAKE, DEADLINE_IDLE, DEADLINE_HEAD, DEADLINE_BODY,
                                               DEADLINE_WRITE};
    for (int fair = 1; fair >= 0; fair--)
        for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
            struct client *c = longest(s, kinds[i], fair);
            if (c != NULL) {
                yield(c, kinds[i]);
                return true;
            }
        }
    return false;
}

/* Is the address at its limit, with as many more connections as the others may have? */
static bool is_over(struct http_server *s, const union address *from, uint64_t more)
{
    uint64_t most = s->limits.client_connections;
    return most > 0 && client_address_connections(s, from) >= most + more;
}

/* A few connections of an address beyond its limit are served as those beyond limits.connections: its health checks. */
static void client_admit(struct listener *l, int fd, const union address *from)
{
    struct http_server *s = l->server;
    if (is_over(s, from, QUOTA_CONNECTIONS_SPARE)) {
        if (s->quotas != NULL)
            quota_refused(s->quotas, QUOTA_ADDRESS, QUOTA_CONNECTIONS);
        socket_refuse(l, fd);
        return;
    }
    bool over = is_over(s, from, 0);
    bool full = s->stats.connections >= s->limits.connections;
    bool beyond = s->draining || (full && !slowest_yields(s));
    if (beyond && s->stats.connections >= s->limits.connections + CONNECTIONS_RESERVED) {
        socket_refuse(l, fd);
        return;
    }
    client_new(l, fd, from, beyond, over);
}

static void accept_pause(struct http_server *s, int error)
{
    if (s->accept_paused)
        return;
    uint64_t now = server_now(s);
    if (s->shortage_said_ns == 0 || now - s->shortage_said_ns >= SHORTAGE_SAID_NS) {
        s->shortage_said_ns = now;
        say_warn("http", "cannot accept connections: %s connections=%u", strerror(error), s->stats.connections);
    }
    s->accept_paused = true;
    for (unsigned i = 0; i < s->listener_count; i++)
        event_del(&s->listeners[i].event);
    watch_arm(&s->accept_timer, ACCEPT_PAUSE_NS);
}

void accept_resume(struct http_server *s)
{
    if (!s->accept_paused)
        return;
    s->accept_paused = false;
    watch_disarm(&s->accept_timer);
    for (unsigned i = 0; i < s->listener_count; i++)
        ENSURE(event_add(&s->listeners[i].event, NULL) == 0);
}

static void on_accept_timer(void *arg)
{
    accept_resume(arg);
}

/* Other errors concern one connection only, such as one that was reset while it waited. */
static bool is_shortage(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

static void on_acceptable(evutil_socket_t listening, short what, void *arg)
{
    (void)what;
    struct listener *l = arg;
    for (int i = 0; i < ACCEPTS_PER_EVENT && !l->server->accept_paused; i++) {
        union address from = {0};
        int fd = address_accept(listening, &from);
        if (fd >= 0)
            client_admit(l, fd, &from);
        else if (is_shortage(-fd))
            accept_pause(l->server, -fd);
        else if (fd == -EAGAIN)
            return;
    }
}

int http_listen(struct http_server *s, slice address, uint16_t *port)
{
    if (s->listener_count == LISTENERS_MAX)
        return -ENOSPC;
    int fd = address_listen(address, port);
    if (fd < 0)
        return fd;
    struct listener *l = &s->listeners[s->listener_count++];
    *l = (struct listener){.server = s, .fd = fd, .local = address_is_loopback(address),
                           .address = mem_copy(address.p, address.n)};
    ENSURE(event_assign(&l->event, s->loop->base, fd, EV_READ | EV_PERSIST, on_acceptable, l) == 0);
    ENSURE(event_add(&l->event, NULL) == 0);
    if (!s->accept_timer.event)
        watch_timer(s->loop, &s->accept_timer, on_accept_timer, s);
    return 0;
}

void listeners_close(struct http_server *s)
{
    accept_resume(s);
    for (unsigned i = 0; i < s->listener_count; i++) {
        struct listener *l = &s->listeners[i];
        if (l->fd < 0)
            continue;
        event_del(&l->event);
        close(l->fd);
        l->fd = -1;
    }
    watch_fini(&s->accept_timer);
}

void listeners_free(struct http_server *s)
{
    listeners_close(s);
    ENSURE(list_empty(&s->all));
    for (unsigned i = 0; i < s->listener_count; i++) {
        tls_server_drop(s->listeners[i].tls);
        mem_free(s->listeners[i].address);
    }
    s->listener_count = 0;
}
