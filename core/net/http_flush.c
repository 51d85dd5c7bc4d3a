/*
 * Answers go to their sockets, and what becomes of the connection after.
 */
#include <errno.h>
#include <event2/event.h>
#include <sys/socket.h>

#include "base/ensure.h"
#include "net/http_server.h"

/* Sends some of the file; the number of bytes, or -errno. A file that has become shorter than was announced leaves
 * no way to end the answer well. */
static ssize_t file_send(struct client *c, struct exchange *x)
{
    uint64_t size = x->file_left < FILE_PER_TURN ? x->file_left : FILE_PER_TURN;
    ssize_t n = conn_send_file(&c->conn, x->file, &x->file_at, size);
    if (n == 0)
        return -EIO;
    if (n > 0)
        x->file_left -= (uint64_t)n;
    return n;
}

static bool all_sent(const struct client *c)
{
    const struct exchange *x = c->exchange;
    return buf_size(&c->conn.out) == 0 && buf_size(&x->body) == 0 && x->file_left == 0;
}

/* One attempt for what is in memory, and one for the file. 0 or -errno; -EAGAIN: wait until it can go on. */
static int client_send(struct client *c)
{
    struct exchange *x = c->exchange;
    ssize_t n = 0;
    if (buf_size(&c->conn.out) + buf_size(&x->body) > 0)
        n = conn_write(&c->conn, &x->body, x->file_left > 0);
    if (n > 0)
        c->server->stats.bytes_out += (uint64_t)n;
    if (n >= 0 && x->file_left > 0 && buf_size(&c->conn.out) == 0) {
        n = file_send(c, x);
        if (n > 0)
            c->server->stats.bytes_out += (uint64_t)n;
    }
    return n < 0 ? (int)n : all_sent(c) ? 0 : -EAGAIN;
}

/* Lets the client read the answer before it is told of the end; it may be sending still, and closing a socket with
 * unread bytes resets the connection and destroys the answer on its way. */
static void client_finish(struct client *c)
{
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

/* A pipelined request begins its life here; one client gets one request a turn. */
static void client_turn_round(struct client *c)
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

static void on_all_sent(struct client *c)
{
    buf_pool_give(&c->server->pool, &c->conn.out);
    deadline_clear(&c->deadline);
    conn_want(&c->conn, c->conn.interest & EV_READ);
    if (c->state == CLIENT_SENDING) {
        if (c->closing)
            client_finish(c);
        else
            client_turn_round(c);
    } else {
        exchange_drained(c->exchange);
    }
}

static void on_blocked(struct client *c)
{
    struct http_server *s = c->server;
    conn_want(&c->conn, c->conn.interest | EV_WRITE);
    if (c->deadline.kind != DEADLINE_WRITE)
        deadline_set(&s->deadlines, &c->deadline, DEADLINE_WRITE, server_now(s));
}

void client_flush(struct client *c)
{
    if (c->conn.fd < 0) {
        exchange_drained(c->exchange);
        return;
    }
    int rc = c->lost ? -ECONNRESET : client_send(c);
    if (rc == 0)
        on_all_sent(c);
    else if (rc == -EAGAIN)
        on_blocked(c);
    else
        client_drop(c);
}
