/*
 * Accepting. Past limits.connections a client takes the place of one that is idle, or is told so and closed. Out of
 * descriptors, the listeners are not looked at until a connection closes, or for a moment: level-triggered readiness
 * would make the loop spin.
 */
#include <errno.h>
#include <event2/event.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/err.h"
#include "base/say.h"
#include "net/http_server.h"

#define ACCEPT_PAUSE_NS (500 * NS_PER_MS)
#define SHORTAGE_SAID_NS (10 * NS_PER_S)   /* at most that often */
#define YIELD_NS NS_PER_S                  /* how long a client is idle before it has to give way */

/* What the client has sent already is thrown away, lest closing resets the answer. */
static void socket_refuse(struct http_server *s, int fd)
{
    if (!s->refusal.data)
        refusal_render(s, &s->refusal, -ERR_TOO_MANY, SLICE("too many connections"));
    slice answer = buf_slice(&s->refusal);
    s->stats.refused++;
    if (send(fd, answer.p, answer.n, MSG_NOSIGNAL) >= 0) {
        shutdown(fd, SHUT_WR);
        recv(fd, NULL, DISCARD_PER_TURN, MSG_TRUNC);
    }
    close(fd);
}

/* Connections that are only kept must not keep out a health check: a cluster's node without one does not lead. */
static bool idlest_yields(struct http_server *s)
{
    struct list *idle = &s->deadlines.lists[DEADLINE_IDLE];
    if (list_empty(idle))
        return false;
    struct deadline *first = list_first(idle, struct deadline, link);
    if (server_now(s) + s->deadlines.span_ns[DEADLINE_IDLE] < first->at_ns + YIELD_NS)
        return false;
    struct client *c = LIST_OWNER(first, struct client, deadline);
    client_drain(c);
    deadline_clear(&c->deadline);
    return true;
}

static void client_admit(struct http_server *s, int fd, const union address *from)
{
    char peer[ADDRESS_TEXT_MAX];
    if (s->stats.connections >= s->limits.connections && !idlest_yields(s)) {
        socket_refuse(s, fd);
        return;
    }
    address_format(from, peer);
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
        int fd = address_accept(listening, &from);
        if (fd >= 0)
            client_admit(l->server, fd, &from);
        else if (is_shortage(-fd))
            accept_pause(l->server, -fd);
        else if (fd == -EAGAIN)
            return;
    }
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

int http_listen(struct http_server *s, slice address, uint16_t *port)
{
    if (s->listener_count == LISTENERS_MAX)
        return -ENOSPC;
    int fd = address_listen(address, port);
    if (fd < 0)
        return fd;
    listener_add(s, fd);
    return 0;
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
