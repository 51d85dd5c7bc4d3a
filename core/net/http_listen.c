/*
 * Accepting. Past limits.connections a client is told so and closed. Out of descriptors, the listeners are not
 * looked at until a connection closes, or for a moment: level-triggered readiness would make the loop spin.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/err.h"
#include "base/say.h"
#include "net/http_server.h"

#define ACCEPT_PAUSE_NS (500 * NS_PER_MS)
#define SHORTAGE_SAID_NS (10 * NS_PER_S)   /* at most that often */

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_storage storage;
};

static void peer_format(const union address *from, char out[PEER_TEXT_MAX])
{
    char host[INET6_ADDRSTRLEN] = "?";
    bool v6 = from->any.sa_family == AF_INET6;
    const void *bytes = v6 ? (const void *)&from->v6.sin6_addr : (const void *)&from->v4.sin_addr;
    inet_ntop(from->any.sa_family, bytes, host, sizeof host);
    unsigned port = ntohs(v6 ? from->v6.sin6_port : from->v4.sin_port);
    snprintf(out, PEER_TEXT_MAX, v6 ? "[%s]:%u" : "%s:%u", host, port);
}

/* What the client has sent already is thrown away, lest closing resets the answer. */
static void socket_refuse(struct http_server *s, int fd)
{
    if (!s->refusal.data)
        refusal_render(s, &s->refusal, -ERR_BUSY, SLICE("too many connections"));
    slice answer = buf_slice(&s->refusal);
    s->stats.refused++;
    if (send(fd, answer.p, answer.n, MSG_NOSIGNAL) >= 0) {
        shutdown(fd, SHUT_WR);
        recv(fd, NULL, DISCARD_PER_TURN, MSG_TRUNC);
    }
    close(fd);
}

static void client_admit(struct http_server *s, int fd, const union address *from)
{
    char peer[PEER_TEXT_MAX];
    if (s->stats.connections >= s->limits.connections) {
        socket_refuse(s, fd);
        return;
    }
    peer_format(from, peer);
    client_new(s, fd, peer);
}

static void shortage_say(struct http_server *s, int error)
{
    uint64_t now = server_now(s);
    if (s->shortage_said_ns != 0 && now - s->shortage_said_ns < SHORTAGE_SAID_NS)
        return;
    s->shortage_said_ns = now;
    say_warn("http", "cannot accept connections: %s connections=%u", strerror(error), s->stats.connections);
}

static void accept_pause(struct http_server *s, int error)
{
    if (s->accept_paused)
        return;
    shortage_say(s, error);
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

/* Errors of one connection (it was reset while it waited) are none of the others' business. */
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
        socklen_t size = sizeof from;
        int fd = accept4(listening, &from.any, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0)
            client_admit(l->server, fd, &from);
        else if (is_shortage(errno))
            accept_pause(l->server, errno);
        else if (errno == EAGAIN)
            return;
    }
}

/* "host:port", "[v6]:port" or ":port" into two strings. */
static int address_split(slice address, char host[256], char port[8])
{
    const char *colon = address.n > 0 ? memrchr(address.p, ':', address.n) : NULL;
    if (!colon)
        return -EINVAL;
    slice h = slice_of(address.p, (size_t)(colon - address.p));
    slice p = slice_skip(address, h.n + 1);
    if (h.n >= 2 && h.p[0] == '[' && h.p[h.n - 1] == ']')
        h = slice_of(h.p + 1, h.n - 2);
    if (p.n == 0 || p.n >= 8 || h.n >= 256)
        return -EINVAL;
    snprintf(host, 256, "%.*s", SLICE_ARGS(h));
    snprintf(port, 8, "%.*s", SLICE_ARGS(p));
    return 0;
}

static int address_resolve(slice address, struct addrinfo **out)
{
    char host[256], port[8];
    uint64_t number;
    int rc = address_split(address, host, port);
    if (rc < 0 || slice_u64(slice_from(port), &number) < 0 || number > UINT16_MAX)
        return -EINVAL;
    struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    rc = getaddrinfo(host[0] ? host : NULL, port, &hints, out);
    return rc == 0 ? 0 : rc == EAI_SYSTEM ? -errno : -EADDRNOTAVAIL;
}

/* Accepted sockets inherit TCP_NODELAY on Linux: one system call less for each. */
static int socket_listen(int fd, const struct addrinfo *at)
{
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (bind(fd, at->ai_addr, at->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0)
        return -errno;
    return 0;
}

static uint16_t socket_port(int fd)
{
    union address name = {0};
    socklen_t size = sizeof name;
    getsockname(fd, &name.any, &size);
    return ntohs(name.any.sa_family == AF_INET6 ? name.v6.sin6_port : name.v4.sin_port);
}

static void listener_add(struct http_server *s, int fd)
{
    struct listener *l = &s->listeners[s->listener_count++];
    *l = (struct listener){.server = s, .fd = fd};
    ENSURE(event_assign(&l->event, s->loop->base, fd, EV_READ | EV_PERSIST, on_acceptable, l) == 0);
    ENSURE(event_add(&l->event, NULL) == 0);
    if (!s->accept_timer.event)
        watch_timer(s->loop, &s->accept_timer, on_accept_timer, s);
}

static int listen_at(struct http_server *s, const struct addrinfo *at, uint16_t *port)
{
    int fd = socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int rc = socket_listen(fd, at);
    if (rc < 0) {
        close(fd);
        return rc;
    }
    listener_add(s, fd);
    *port = socket_port(fd);
    return 0;
}

int http_listen(struct http_server *s, slice address, uint16_t *port)
{
    struct addrinfo *found;
    if (s->listener_count == LISTENERS_MAX)
        return -ENOSPC;
    int rc = address_resolve(address, &found);
    if (rc < 0)
        return rc;
    rc = listen_at(s, found, port);
    freeaddrinfo(found);
    return rc;
}

void listeners_close(struct http_server *s)
{
    accept_resume(s);
    for (unsigned i = 0; i < s->listener_count; i++) {
        event_del(&s->listeners[i].event);
        close(s->listeners[i].fd);
    }
    s->listener_count = 0;
    watch_fini(&s->accept_timer);
}
