/*
 * From bytes to requests. A callback only reads into the client's buffer; http_next does the rest.
 *
 * The buffer grows with what has arrived, never to what a Content-Length claims. While a request is HANDLED its
 * slices point into the buffer, so only the room that is left in it is filled; then the socket is not watched for
 * reading until the answer is sent.
 */
#include <errno.h>
#include <event2/event.h>
#include <stdio.h>

#include "base/ensure.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/say.h"
#include "net/http_server.h"
#include "net/tls_stream.h"

/* ---- room in the input buffer ---- */

static uint64_t beyond_usual(size_t cap)
{
    return cap > CONN_BUF_SIZE ? cap - CONN_BUF_SIZE : 0;
}

void input_release(struct client *c)
{
    client_hold(c, HELD_BODIES, -(int64_t)c->charged);
    c->charged = 0;
    buf_pool_give(&c->server->pool, &c->conn.in);
}

static bool has_room(const struct http_server *s, uint64_t more)
{
    return s->held[HELD_BODIES] + more <= s->limits.bodies;
}

static void input_charge(struct client *c)
{
    uint64_t holds = beyond_usual(c->conn.in.cap);
    client_hold(c, HELD_BODIES, (int64_t)holds - (int64_t)c->charged);
    c->charged = holds;
}

static long head_parse(struct client *c, int *error, const char **detail)
{
    struct exchange *x = c->exchange;
    x->moved = false;
    return http_parse_head(buf_slice(&c->conn.in), &x->scanned, &x->request.head, error, detail);
}

/* The head has been parsed before, and its bytes are elsewhere now. */
static void head_again(struct client *c)
{
    int error;
    const char *detail;
    c->exchange->scanned = 0;
    ENSURE(head_parse(c, &error, &detail) == (long)c->exchange->head_size);
}

/* Frees what has arrived of a body. The head stays: its answer depends on it. */
static void body_forget(struct client *c)
{
    struct buf *in = &c->conn.in;
    size_t size = c->exchange->head_size;
    memmove(in->data, in->data + in->at, size);
    in->at = 0;
    in->end = size;
    in->cap = size > CONN_BUF_SIZE ? size : CONN_BUF_SIZE;
    in->data = mem_resize(in->data, in->cap);
    head_again(c);
    input_charge(c);
}

/* It is answered in the turn; its memory is free from now on. */
static void body_refuse(struct client *c)
{
    struct http_server *s = c->server;
    body_forget(c);
    s->stats.slow++;
    c->refused = -ERR_TOO_MANY;
    conn_want(&c->conn, c->conn.interest & EV_WRITE);
    client_queue(&s->arrived, c);
}

/* Refuses the bodies that have taken the longest to arrive, until there is room for `more`; those of addresses that
 * hold their share go first. False: there is none, or `self` is the slowest. */
static bool slowest_give_room(struct client *self, uint64_t more)
{
    struct http_server *s = self->server;
    struct list *bodies = &s->deadlines.lists[DEADLINE_BODY];
    for (int fair = 1; fair >= 0; fair--) {
        struct list *at = bodies->next;
        while (!has_room(s, more) && at != bodies) {
            struct client *c = LIST_OWNER(LIST_OWNER(at, struct deadline, link), struct client, deadline);
            at = at->next;
            if (fair && !client_has_share(c, HELD_BODIES))
                continue;
            if (c == self)
                return false;
            if (c->charged > 0)
                body_refuse(c);
        }
    }
    return has_room(s, more);
}

/* Grows to four times the size, or at once to the size of this client's last request; but not above what the request
 * that is arriving can need. 0, or -ERR_TOO_MANY. */
static int input_grow(struct client *c)
{
    struct http_server *s = c->server;
    struct exchange *x = c->exchange;
    struct buf *in = &c->conn.in;
    uint64_t bound = HTTP_HEAD_MAX;
    if (c->state == CLIENT_BODY)
        bound = x->head_size + (x->request.head.has_length ? x->request.head.content_length : s->limits.body + KIB);
    uint64_t cap = (uint64_t)in->cap * 4;
    if (cap < c->body_before)
        cap = c->body_before;
    if (cap > bound)
        cap = bound;
    if (cap <= in->cap)
        cap = (uint64_t)in->cap * 2;
    uint64_t more = beyond_usual((size_t)cap) - beyond_usual(in->cap);
    if (!has_room(s, more) && !slowest_give_room(c, more))
        return -ERR_TOO_MANY;
    in->data = mem_resize(in->data, (size_t)cap);
    in->cap = (size_t)cap;
    input_charge(c);
    x->moved = true;
    return 0;
}

static bool is_reading(const struct client *c)
{
    return c->state == CLIENT_HEAD || c->state == CLIENT_BODY;
}

/* Makes room for at least one byte. 0; -ENOBUFS when there is none before the answer is sent; -ERR_TOO_MANY. */
static int input_room(struct client *c)
{
    struct buf *in = &c->conn.in;
    if (in->end < in->cap)
        return 0;
    if (!is_reading(c))
        return -ENOBUFS;
    if (!in->data) {
        buf_pool_take(&c->server->pool, in);
        return 0;
    }
    if (in->at == 0)
        return input_grow(c);
    client_exchange(c)->moved = true;
    in->end = buf_size(in);
    memmove(in->data, in->data + in->at, in->end);
    in->at = 0;
    return 0;
}

/* ---- callbacks, which only record ---- */

static void client_on_end(struct client *c, ssize_t rc)
{
    c->conn.eof = true;
    c->lost = rc < 0;
    conn_want(&c->conn, c->conn.interest & EV_WRITE);
    if (is_reading(c) || c->state == CLIENT_LINGER)
        client_queue(&c->server->arrived, c);
    else if (c->lost)
        client_queue(&c->server->flushing, c);
    if (c->state == CLIENT_HANDLED)
        exchange_left(c->exchange);
}

void client_on_readable(struct client *c)
{
    bool discards = c->state == CLIENT_LINGER;
    ssize_t n;
    if (discards) {
        n = conn_discard(&c->conn, DISCARD_PER_TURN);
        if (n > 0)
            c->discarded += (size_t)n;
        if (c->discarded > DISCARD_MAX)
            n = -ENOBUFS;
    } else {
        int rc = input_room(c);
        if (rc < 0)
            conn_want(&c->conn, c->conn.interest & EV_WRITE);
        if (rc == -ERR_TOO_MANY) {
            c->refused = rc;
            client_queue(&c->server->arrived, c);
        }
        n = rc < 0 ? -EAGAIN : conn_read(&c->conn);
    }
    if (n == -EAGAIN)
        return;
    if (n <= 0) {
        client_on_end(c, n);
    } else if (!discards) {
        c->server->stats.bytes_in += (size_t)n;
        if (!is_reading(c))
            return;
        client_exchange(c);
        client_queue(&c->server->arrived, c);
    }
}

void client_on_ready(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    struct client *c = arg;
    if (c->state == CLIENT_SHAKE) {
        if (list_alone(&c->queue))
            client_queue(&c->server->shaking, c);
        return;
    }
    if (c->conn.interest == 0) {
        if (conn_reset(&c->conn))
            client_on_end(c, -ECONNRESET);
        return;
    }
    if (what & EV_READ)
        client_on_readable(c);
    if ((what & EV_WRITE) && !is_reading(c))
        client_queue(&c->server->flushing, c);
}

/* ---- in the turn ---- */

void client_refuse(struct client *c, int error, slice detail)
{
    c->server->stats.bad_requests++;
    answer_refusal(c, &(struct http_refusal){.error = error, .detail = detail});
}

static bool refuse_body_size(struct client *c)
{
    char detail[96];
    int n = snprintf(detail, sizeof detail, "the body is larger than the limit of %llu bytes",
                     (unsigned long long)c->server->limits.body);
    c->server->stats.bad_requests++;
    answer_refusal(c, &(struct http_refusal){
        .error = -ERR_TOO_LARGE, .detail = slice_of(detail, (size_t)n), .limit = c->server->limits.body});
    return false;
}

/* The head or the body is not whole yet. Its deadline is set once, when it begins. Returns false. */
static bool client_wait(struct client *c, enum deadline_kind kind, uint64_t since_ns)
{
    if (c->conn.eof)
        client_drop(c);
    else if (c->deadline.kind != kind)
        deadline_set(&c->server->deadlines, &c->deadline, kind, since_ns);
    return false;
}

/* Is a request whose body is still to come worth reading it? If not, it is answered now. */
static bool body_is_wanted(struct client *c)
{
    struct http_server *s = c->server;
    struct http_refusal r = {0};
    if (s->judge != NULL)
        s->judge(s->judge_arg, &c->exchange->request, &r);
    if (r.error == 0)
        return true;
    answer_refusal(c, &r);
    return false;
}

/* A client that sends a TLS handshake to a plain listener learns nothing from the answer. */
static void say_stray_tls(struct client *c)
{
    slice in = buf_slice(&c->conn.in);
    if (c->listener->tls_said || c->conn.tls != NULL || !slice_starts(in, SLICE("\x16\x03")))
        return;
    c->listener->tls_said = true;
    say_warn("http", "a client sends TLS to a listener without TLS (said once) client=%.*s", c->peer_size, c->peer);
}

/* Parses the head. True when the body is to be read next. */
static bool head_take(struct client *c)
{
    struct exchange *x = c->exchange;
    const struct http_head *head = &x->request.head;
    int error;
    const char *detail;
    long size = head_parse(c, &error, &detail);
    if (size == HTTP_MORE)
        return client_wait(c, DEADLINE_HEAD, x->request.began_ns);
    if (size == HTTP_BAD) {
        say_stray_tls(c);
        client_refuse(c, error, slice_from(detail));
        return false;
    }
    x->parsed = true;
    int rc = browser_judge(c);
    if (rc < 0) {
        client_refuse(c, rc, browser_advice(rc));
        return false;
    }
    if (c->beyond && !(c->server->is_reserved != NULL && c->server->is_reserved(head->path))) {
        c->server->stats.refused++;
        if (c->over && c->server->quotas != NULL)
            quota_refused(c->server->quotas, QUOTA_ADDRESS, QUOTA_CONNECTIONS);
        if (c->server->draining)
            answer_refusal(c, &(struct http_refusal){.error = -ERR_STOPPING});
        else if (c->over)
            answer_refusal(c, &(struct http_refusal){
                .error = -ERR_TOO_MANY,
                .detail = SLICE("this address has too many connections (limits.client.connections)"),
                .limit = c->server->limits.client_connections});
        else
            answer_refusal(c, &(struct http_refusal){.error = -ERR_TOO_MANY, .detail = SLICE("too many connections")});
        c->linger = false;     /* its place is one of few */
        return false;
    }
    x->head_size = x->taken = (size_t)size;
    if (head->has_length && head->content_length > c->server->limits.body)
        return refuse_body_size(c);
    bool has_body = head->chunked || head->content_length > 0;
    bool is_there = !head->chunked && buf_size(&c->conn.in) - x->head_size >= head->content_length;
    if (!is_there && !body_is_wanted(c))
        return false;
    c->state = CLIENT_BODY;
    if (head->expect_continue && has_body && buf_size(&c->conn.in) == x->head_size) {
        struct buf none = {0};
        if (!c->conn.out.data)
            buf_pool_take(&c->server->pool, &c->conn.out);
        buf_add_slice(&c->conn.out, SLICE("HTTP/1.1 100 Continue\r\n\r\n"));
        conn_write(&c->conn, &none, false);   /* the socket takes it, or it goes out with the answer */
    }
    return true;
}

static bool body_take_sized(struct client *c)
{
    struct exchange *x = c->exchange;
    size_t length = (size_t)x->request.head.content_length;
    if (buf_size(&c->conn.in) - x->head_size < length)
        return client_wait(c, DEADLINE_BODY, server_now(c->server));
    x->body_size = length;
    x->taken = x->head_size + length;
    return true;
}

/* Decodes in place: the raw bytes begin where the decoded ones end. */
static bool body_take_chunked(struct client *c)
{
    struct exchange *x = c->exchange;
    struct buf *in = &c->conn.in;
    size_t start = in->at + x->head_size + x->body_size;
    size_t decoded;
    bool done;
    long raw = http_chunks_feed(&x->chunks, in->data + start, in->end - start, &decoded, &done);
    if (raw == HTTP_BAD) {
        client_refuse(c, -ERR_BAD_REQUEST, SLICE("the chunked body is malformed"));
        return false;
    }
    x->body_size += decoded;
    if (x->body_size + x->chunks.left > c->server->limits.body)
        return refuse_body_size(c);
    if (!done) {
        in->end = start + decoded;
        return client_wait(c, DEADLINE_BODY, server_now(c->server));
    }
    x->taken = start + (size_t)raw - in->at;
    return true;
}

/* The body is whole: completes the request. */
static void request_complete(struct client *c)
{
    struct exchange *x = c->exchange;
    struct http_server *s = c->server;
    if (x->moved)
        head_again(c);
    x->request.body = slice_of(c->conn.in.data + c->conn.in.at + x->head_size, x->body_size);
    x->request.peer = slice_of(c->peer, c->peer_size);
    x->request.secure = c->conn.tls != NULL;
    x->request.user = c->conn.tls == NULL ? (slice){0} : tls_stream_user(c->conn.tls);
    x->request.whole_ns = server_now(s);
    c->state = CLIENT_HANDLED;
    c->body_before = x->taken;
    c->closing = c->beyond || !x->request.head.keep_alive;
    deadline_clear(&c->deadline);
    s->stats.requests++;
    s->stats.requests_in_flight++;
}

bool client_advance(struct client *c)
{
    if (c->lost || c->state == CLIENT_LINGER) {
        client_drop(c);
        return false;
    }
    if (c->refused) {
        answer_refusal(c, &(struct http_refusal){
            .error = c->refused, .detail = SLICE("too many request bodies at once")});
        return false;
    }
    if (buf_size(&c->conn.in) == 0 && c->state == CLIENT_HEAD)
        return client_wait(c, DEADLINE_IDLE, server_now(c->server));
    if (c->state == CLIENT_HEAD && !head_take(c))
        return false;
    if (!(c->exchange->request.head.chunked ? body_take_chunked(c) : body_take_sized(c)))
        return false;
    request_complete(c);
    return !browser_preflight(c);
}

void client_expire(struct client *c)
{
    struct http_server *s = c->server;
    bool reading = c->deadline.kind == DEADLINE_HEAD || c->deadline.kind == DEADLINE_BODY;
    deadline_clear(&c->deadline);
    if (!reading) {
        client_drop(c);
        return;
    }
    s->stats.timeouts++;
    answer_refusal(c, &(struct http_refusal){
        .error = -ERR_SLOW_REQUEST, .detail = c->state == CLIENT_HEAD ? SLICE("the head did not arrive in time")
                                                                      : SLICE("the body did not arrive in time")});
}
