/*
 * TLS handshakes. They are steps of the turn, for a limited time in each, as one costs as much as hundreds of requests:
 * so a flood of them slows down each other, and not the clients that are served.
 *
 * A handshake holds some 40 KiB from its first byte to its end. Beyond TLS_SHAKES_MAX of them the oldest gives way,
 * first one of an address that holds its share. So strangers that begin handshakes and do not end them keep nobody out.
 */
#include <errno.h>
#include <event2/event.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/err.h"
#include "base/say.h"
#include "net/http_server.h"
#include "net/tls_server.h"
#include "net/tls_stream.h"

enum { FIRST_OF_TLS = 0x16 };             /* a handshake record */

void shake_end(struct client *c)
{
    if (c->state != CLIENT_SHAKE || c->conn.tls == NULL)
        return;
    list_remove(&c->stalled);
    client_hold(c, HELD_SHAKES, -1);
}

/* Until there is a place. */
static void oldest_give_way(struct http_server *s)
{
    for (int fair = 1; fair >= 0; fair--)
        LIST_EACH(link, &s->shakes) {
            struct client *c = LIST_OWNER(link, struct client, stalled);
            if (s->held[HELD_SHAKES] < TLS_SHAKES_MAX)
                return;
            if (fair && !client_has_share(c, HELD_SHAKES))
                continue;
            s->stats.slow++;
            client_drop(c);
        }
}

/* The first byte has arrived. False: there is no handshake (yet). */
static bool shake_begin(struct client *c)
{
    struct http_server *s = c->server;
    unsigned char first;
    ssize_t n = recv(c->conn.fd, &first, 1, MSG_PEEK);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n <= 0) {
        client_drop(c);
        return false;
    }
    if (first != FIRST_OF_TLS) {
        c->state = CLIENT_HEAD;
        client_refuse(c, -ERR_BAD_REQUEST, SLICE("this address takes HTTPS only: use https:// instead of http://"));
        return false;
    }
    oldest_give_way(s);
    conn_secure(&c->conn, tls_stream_new(c->listener->tls, c->conn.fd));
    list_push(&s->shakes, &c->stalled);
    client_hold(c, HELD_SHAKES, 1);
    return true;
}

/* What the client sends further is discarded, so that a reset does not eat the alert. */
static void shake_failed(struct client *c, const char *why)
{
    static struct say_limit limit;
    struct http_server *s = c->server;
    s->stats.handshakes_failed++;
    say_limited(&limit, SAY_INFO, "http", "a TLS handshake failed client=%.*s reason=\"%s\"", c->peer_size, c->peer,
                why);
    shake_end(c);
    conn_unsecure(&c->conn);
    shutdown(c->conn.fd, SHUT_WR);
    c->state = CLIENT_LINGER;
    deadline_set(&s->deadlines, &c->deadline, DEADLINE_LINGER, server_now(s));
    conn_want(&c->conn, EV_READ);
}

static void client_shake(struct client *c)
{
    struct http_server *s = c->server;
    if (c->conn.tls == NULL && !shake_begin(c))
        return;
    int rc = tls_stream_shake(c->conn.tls);
    if (rc == 0 || rc == -EAGAIN) {
        conn_want(&c->conn, rc == 0 ? EV_READ : EV_WRITE);
    } else if (rc < 0) {
        shake_failed(c, tls_stream_why(c->conn.tls));
    } else if (!tls_stream_fits(c->conn.tls, c->listener->tls)) {   /* its CA may have changed meanwhile */
        shake_failed(c, "its certificate is not trusted any more");
    } else {
        shake_end(c);
        s->stats.handshakes++;
        c->state = CLIENT_HEAD;
        deadline_set(&s->deadlines, &c->deadline, DEADLINE_IDLE, server_now(s));
        conn_want(&c->conn, EV_READ);
        client_on_readable(c);                /* the request often comes with the end of the handshake */
    }
}

void shakes_run(struct http_server *s)
{
    uint64_t until = clock_ns() + SHAKE_MS * NS_PER_MS;
    s->shaken = true;
    do {
        struct client *c = list_first(&s->shaking, struct client, queue);
        list_remove(&c->queue);
        client_shake(c);
    } while (!list_empty(&s->shaking) && clock_ns() < until);
}

/* ---- certificates ---- */

void http_secure(struct http_server *s, unsigned i, struct tls_server *tls)
{
    ENSURE(i < s->listener_count);
    struct listener *l = &s->listeners[i];
    tls_server_drop(l->tls);
    l->tls = tls_server_share(tls);
    LIST_EACH(link, &s->all) {
        struct client *c = LIST_OWNER(link, struct client, all);
        bool open = c->conn.fd >= 0 && c->conn.tls != NULL && c->state != CLIENT_SHAKE;
        if (c->listener != l || !open || tls_stream_fits(c->conn.tls, tls))
            continue;
        c->lost = true;
        client_queue(c->state == CLIENT_HANDLED || c->state == CLIENT_SENDING ? &s->flushing : &s->arrived, c);
    }
    loop_again(s->loop);
}

struct tls_server *http_tls(const struct http_server *s, unsigned i)
{
    return i < s->listener_count ? s->listeners[i].tls : NULL;
}

int http_listener_at(const struct http_server *s, slice address)
{
    for (unsigned i = 0; i < s->listener_count; i++)
        if (slice_eq(http_listener_address(s, i), address))
            return (int)i;
    return -1;
}

slice http_listener_address(const struct http_server *s, unsigned i)
{
    return slice_from(s->listeners[i].address);
}

unsigned http_listeners(const struct http_server *s)
{
    return s->listener_count;
}
