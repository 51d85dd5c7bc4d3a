/*
 * Sends answers to their sockets, and decides what happens to the connection afterwards.
 */
#include <errno.h>
#include <event2/event.h>
#include <sys/socket.h>

#include "base/ensure.h"
#include "base/say.h"
#include "net/http_server.h"

static bool is_written(const struct client *c)
{
    return buf_size(&c->conn.out) + buf_size(&c->exchange->body) == 0;
}

/* Renders the next piece of the body into `out`, as a chunk whose size is filled in afterwards. */
static void piece_next(struct client *c)
{
    static const slice line = SLICE("00000000\r\n");
    struct exchange *x = c->exchange;
    struct buf *out = &c->conn.out;
    size_t start = buf_size(out) + line.n;
    if (x->chunked_answer)
        buf_add_slice(out, line);
    bool more = x->source.more(x->source.source, out);
    if (!more)
        exchange_end_source(x);
    if (!x->chunked_answer)
        return;
    size_t size = buf_size(out) - start;
    char *digit = out->data + out->at + start - 2;
    for (size_t left = size; left > 0; left >>= 4)
        *--digit = "0123456789abcdef"[left & 15];
    if (size == 0)
        out->end -= line.n;
    else
        buf_add_slice(out, SLICE("\r\n"));
    if (!more && c->state == CLIENT_SENDING)
        buf_add_slice(out, SLICE("0\r\n\r\n"));
}

/* Writes what is in memory, and what a source renders behind it. The bytes of the last write, or -EAGAIN, -errno. */
static ssize_t memory_send(struct client *c)
{
    struct exchange *x = c->exchange;
    uint64_t *sent = &c->server->stats.bytes_out, until = *sent + FILE_PER_TURN;
    ssize_t n = 0;
    do {
        if (is_written(c) && x->source.more)
            piece_next(c);
        if (is_written(c))
            break;
        n = conn_write(&c->conn, &x->body, x->file_left > 0);
        if (n > 0)
            *sent += (uint64_t)n;
    } while (n > 0 && is_written(c) && x->source.more && *sent < until);
    exchange_charge(x);
    return n;
}

/* An attempt to send what is in memory, and one for the file. 0: all is sent; -EAGAIN: not yet; -errno. */
static int client_send(struct client *c)
{
    struct exchange *x = c->exchange;
    ssize_t n = memory_send(c);
    if (n >= 0 && x->file_left > 0 && buf_size(&c->conn.out) == 0) {
        uint64_t size = x->file_left < FILE_PER_TURN ? x->file_left : FILE_PER_TURN;
        n = conn_send_file(&c->conn, x->file, &x->file_at, size);
        if (n == 0)
            return -EIO;   /* the file is shorter than the length that was announced: the answer cannot be completed */
        if (n > 0) {
            x->file_left -= (uint64_t)n;
            c->server->stats.bytes_out += (uint64_t)n;
        }
    }
    if (n < 0)
        return (int)n;
    return is_written(c) && x->source.more == NULL && x->file_left == 0 ? 0 : -EAGAIN;
}

/* Ends the connection after the answer. A client that may still be sending gets time to read the answer first:
 * closing a socket with unread bytes resets the connection, and the answer may be lost. */
static void client_finish(struct client *c)
{
    if (!c->cut)
        conn_finish(&c->conn);
    if (!c->linger || c->conn.eof) {
        client_drop(c);
        return;
    }
    shutdown(c->conn.fd, SHUT_WR);
    exchange_release(c);
    buf_clear(&c->conn.in);
    input_release(c);
    c->state = CLIENT_LINGER;
    deadline_set(&c->server->deadlines, &c->deadline, DEADLINE_LINGER, server_now(c->server));
    conn_want(&c->conn, EV_READ);
}

/* Prepares for the next request. A pipelined one is here already, but each client gets one request a turn. */
static void client_next_request(struct client *c)
{
    struct http_server *s = c->server;
    buf_drop(&c->conn.in, c->exchange->taken);
    exchange_release(c);
    c->state = CLIENT_HEAD;
    if (buf_size(&c->conn.in) > 0) {
        client_exchange(c);
        client_queue(&s->arrived, c);
    } else {
        input_release(c);
        deadline_set(&s->deadlines, &c->deadline, DEADLINE_IDLE, server_now(s));
        if (c->conn.eof)
            client_queue(&s->arrived, c);
    }
    if (!c->conn.eof)
        conn_want(&c->conn, EV_READ);
    if (s->draining)
        client_drain(c);
}

void client_flush(struct client *c)
{
    struct http_server *s = c->server;
    if (c->conn.fd < 0) {
        exchange_drained(c->exchange);
        return;
    }
    uint64_t sent = s->stats.bytes_out;
    int rc = c->lost ? -ECONNRESET : client_send(c);
    if (s->quotas != NULL && c->quota.index != 0)
        quota_sent(s->quotas, c->quota, s->stats.bytes_out - sent);
    if (rc == -EAGAIN) {
        if (s->stats.bytes_out != sent || list_alone(&c->stalled)) {
            list_remove(&c->stalled);
            list_push(&s->stalled, &c->stalled);
        }
        conn_want(&c->conn, c->conn.interest | EV_WRITE);
        if (c->deadline.kind != DEADLINE_WRITE)
            deadline_set(&s->deadlines, &c->deadline, DEADLINE_WRITE, server_now(s));
        return;
    }
    if (rc < 0) {
        client_drop(c);
        return;
    }
    buf_pool_give(&s->pool, &c->conn.out);
    exchange_charge(c->exchange);
    list_remove(&c->stalled);
    deadline_clear(&c->deadline);
    conn_want(&c->conn, c->conn.interest & EV_READ);
    if (c->state != CLIENT_SENDING)
        exchange_drained(c->exchange);
    else if (c->closing)
        client_finish(c);
    else
        client_next_request(c);
}

static bool too_many_bytes(const struct http_server *s)
{
    return s->held[HELD_ANSWERS] > s->limits.bodies;
}

static bool too_many_files(const struct http_server *s)
{
    return s->limits.files > 0 && s->held[HELD_FILES] > s->limits.files;
}

/* A reset, so that the client cannot take what it has got for the whole of an answer that the end of the connection
 * ends. */
static void client_cut(struct client *c)
{
    static struct say_limit limit;
    struct linger at_once = {.l_onoff = 1};
    say_limited(&limit, SAY_WARN, "http", "the slowest reader is disconnected, as %s client=%.*s unsent=%zu",
                too_many_bytes(c->server) ? "unsent answers exceed limits.bodies"
                                          : "answers from files take too many descriptors",
                (int)c->peer_size, c->peer, c->exchange->held);
    c->server->stats.slow++;
    setsockopt(c->conn.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    client_drop(c);
}

/* Whether it holds some of what there is too much of; with `fair`, only if its address holds its share of that. */
static bool gives_way(const struct client *c, bool fair)
{
    bool bytes = too_many_bytes(c->server) && c->exchange->held > 0;
    bool files = too_many_files(c->server) && c->exchange->file >= 0;
    return (bytes && (!fair || client_has_share(c, HELD_ANSWERS))) ||
           (files && (!fair || client_has_share(c, HELD_FILES)));
}

/* The one that took something last stays, unless its answer alone exceeds the bound and there are others. */
static bool stays(const struct client *c)
{
    const struct http_server *s = c->server;
    bool alone = c->stalled.prev == &s->stalled;
    return c->stalled.next == &s->stalled && (alone || c->exchange->held <= s->limits.bodies);
}

void slowest_drop(struct http_server *s)
{
    for (int fair = 1; fair >= 0; fair--) {
        struct list *at = s->stalled.next;
        while ((too_many_bytes(s) || too_many_files(s)) && at != &s->stalled) {
            struct client *c = LIST_OWNER(at, struct client, stalled);
            at = at->next;
            if (!stays(c) && gives_way(c, fair))
                client_cut(c);
        }
    }
}
