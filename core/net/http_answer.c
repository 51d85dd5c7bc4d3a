/*
 * Renders answers; http_flush.c sends them. An answer to a client that is gone is counted and dropped.
 */
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/err.h"
#include "net/http_chars.h"
#include "net/http_server.h"
#include "net/http_status.h"

/* How the end of the body is marked. */
struct framing {
    bool sized, chunked;
    uint64_t size;
};

/* ---- the head ---- */

#define OK_LINE "HTTP/1.1 200 OK\r\n"

/* OK_LINE and "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n", rendered once a second. */
static slice ok_lines(struct http_server *s)
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    time_t now = time(NULL);
    if (now != s->date) {
        struct tm t;
        gmtime_r(&now, &t);
        s->date = now;
        s->ok_size = (size_t)snprintf(s->ok_lines, sizeof s->ok_lines,
                                      OK_LINE "Date: %.3s, %02d %.3s %d %02d:%02d:%02d GMT\r\n", days + 3 * t.tm_wday,
                                      t.tm_mday, months + 3 * t.tm_mon, t.tm_year + 1900, t.tm_hour, t.tm_min,
                                      t.tm_sec);
    }
    return slice_of(s->ok_lines, s->ok_size);
}

/* The status line and Date. */
static void lines_begin(struct http_server *s, struct buf *out, int status)
{
    slice lines = ok_lines(s);
    if (status != 200) {
        buf_add_slice(out, SLICE("HTTP/1.1 "));
        buf_add_u64(out, (uint64_t)status);
        buf_add_char(out, ' ');
        buf_add_slice(out, http_phrase(status));
        buf_add_slice(out, SLICE("\r\n"));
        lines = slice_skip(lines, sizeof OK_LINE - 1);
    }
    buf_add_slice(out, lines);
}

/* Of the exchange `x`; NULL: the client's request has not been read. */
static void head_render(struct http_server *s, struct buf *out, const struct http_answer *a, const struct framing *f,
                        const struct exchange *x)
{
    lines_begin(s, out, a->status);
    if (a->type.n > 0) {
        buf_add_slice(out, SLICE("Content-Type: "));
        buf_add_slice(out, a->type);
        buf_add_slice(out, SLICE("\r\n"));
    }
    if (f->chunked)
        buf_add_slice(out, SLICE("Transfer-Encoding: chunked\r\n"));
    if (f->sized) {
        buf_add_slice(out, SLICE("Content-Length: "));
        buf_add_u64(out, f->size);
        buf_add_slice(out, SLICE("\r\n"));
    }
    buf_add_slice(out, a->headers);
    if (x != NULL && x->shared != NULL)
        browser_headers(x, out);
    if (x != NULL && x->id != 0)
        buf_addf(out, "Lignum-Request-Id: %016llx\r\n", (unsigned long long)x->id);
    if (a->close)
        buf_add_slice(out, SLICE("Connection: close\r\n"));
    buf_add_slice(out, SLICE("\r\n"));
}

static bool status_bodiless(int status)
{
    return status < 200 || status == 204 || status == 304;
}

/* ---- answers of known length ---- */

size_t http_bill(struct http_request *r, struct quota_ref client)
{
    struct exchange *x = (struct exchange *)(void *)r;
    x->client->quota = client;
    return x->taken;
}

static struct exchange *exchange_of(struct http_request *r)
{
    return (struct exchange *)(void *)r;
}

/* Once for each answer, before its head is made. bytes: of the body; NULL: not known. */
static void count(struct exchange *x, int status, const uint64_t *bytes)
{
    struct http_server *s = x->client->server;
    const struct http_request *r = &x->request;
    struct http_route_stats *route = &s->routes[r->route < s->stats.route_count ? r->route : 0];
    int class = status / 100;
    if (class >= 1 && class <= 5)
        route->by_class[class]++;
    if (r->whole_ns > 0)
        hist_record(&route->latency, clock_ns() - r->whole_ns - r->waited_ns);
    if (s->logs)
        exchange_log(x, status, bytes);
}

static bool is_gone(const struct client *c)
{
    return c->conn.fd < 0 || c->lost;
}

/* Writes the head. `f` is the framing of the body, which HEAD and some statuses do not have. */
static void answer_head(struct exchange *x, const struct http_answer *a, struct framing f)
{
    struct client *c = x->client;
    struct http_answer full = *a;
    bool none = status_bodiless(a->status);
    x->bodiless = none || slice_eq(x->request.head.method, SLICE("HEAD"));
    if (none)
        f = (struct framing){0};
    c->linger = c->linger || (!c->closing && (a->close || c->server->draining));
    c->closing = full.close = c->closing || c->linger;
    if (!c->conn.out.data)
        buf_pool_take(&c->server->pool, &c->conn.out);
    head_render(c->server, &c->conn.out, &full, &f, x);
}

/* The answer is whole; the request is not valid any more. */
static void answer_end(struct exchange *x)
{
    struct client *c = x->client;
    c->server->stats.requests_in_flight--;
    x->on_drained = NULL;
    exchange_charge(x);
    c->state = CLIENT_SENDING;
    if (c->conn.fd < 0)
        client_free(c);
    else
        client_queue(&c->server->flushing, c);
}

/* Writes the head. False when the client is gone; the answer has then ended. */
static bool answer_begin(struct exchange *x, const struct http_answer *a, uint64_t size)
{
    ENSURE(x->client->state == CLIENT_HANDLED);
    count(x, a->status, &size);
    if (is_gone(x->client)) {
        answer_end(x);
        return false;
    }
    answer_head(x, a, (struct framing){.sized = true, .size = size});
    return true;
}

void http_answer(struct http_request *r, const struct http_answer *a, slice body)
{
    struct exchange *x = exchange_of(r);
    if (!answer_begin(x, a, body.n))
        return;
    if (!x->bodiless)
        buf_add_slice(&x->client->conn.out, body);
    answer_end(x);
}

void http_answer_take(struct http_request *r, const struct http_answer *a, struct buf *body)
{
    struct exchange *x = exchange_of(r);
    struct buf owned = {0};
    buf_move(&owned, body);
    if (answer_begin(x, a, buf_size(&owned))) {
        if (!x->bodiless && buf_size(&owned) <= TAKE_COPY_MAX)
            buf_add_slice(&x->client->conn.out, buf_slice(&owned));
        else if (!x->bodiless)
            buf_move(&x->body, &owned);
        answer_end(x);
    }
    buf_fini(&owned);
}

void http_answer_file(struct http_request *r, const struct http_answer *a, int fd, uint64_t position, uint64_t size)
{
    struct exchange *x = exchange_of(r);
    if (!answer_begin(x, a, size)) {
        close(fd);
        return;
    }
    x->file = fd;
    client_hold(x->client, HELD_FILES, 1);
    x->file_at = position;
    x->file_left = x->bodiless ? 0 : size;
    answer_end(x);
}

/* ---- answers of unknown length ---- */

void http_answer_source(struct http_request *r, const struct http_answer *a, const struct http_source *source)
{
    struct exchange *x = exchange_of(r);
    http_begin(r, a);
    x->source = *source;
    if (is_gone(x->client) || x->bodiless)
        x->source.more = NULL;
    answer_end(x);
}

void http_begin(struct http_request *r, const struct http_answer *a)
{
    struct exchange *x = exchange_of(r);
    struct client *c = x->client;
    ENSURE(c->state == CLIENT_HANDLED);
    count(x, a->status, NULL);
    if (is_gone(c))
        return;
    x->chunked_answer = r->head.minor > 0;
    answer_head(x, a, (struct framing){.chunked = x->chunked_answer});
    x->chunked_answer = x->chunked_answer && !x->bodiless;
    client_queue(&c->server->flushing, c);
}

size_t http_chunk(struct http_request *r, slice bytes)
{
    struct exchange *x = exchange_of(r);
    struct client *c = x->client;
    if (is_gone(c))
        return 0;
    struct buf *out = &c->conn.out;
    if (bytes.n > 0 && !x->bodiless) {
        if (!out->data)
            buf_pool_take(&c->server->pool, out);
        if (x->chunked_answer)
            buf_addf(out, "%zx\r\n", bytes.n);
        buf_add_slice(out, bytes);
        if (x->chunked_answer)
            buf_add_slice(out, SLICE("\r\n"));
        exchange_charge(x);
        client_queue(&c->server->flushing, c);
    }
    return buf_size(out);
}

void http_chunk_source(struct http_request *r, const struct http_source *source)
{
    struct exchange *x = exchange_of(r);
    ENSURE(x->source.free == NULL);
    if (is_gone(x->client) || x->bodiless) {
        source->free(source->source);
        return;
    }
    x->source = *source;
    exchange_charge(x);
    client_queue(&x->client->server->flushing, x->client);
}

void http_on_drained(struct http_request *r, void (*on_drained)(void *arg), void *arg)
{
    struct exchange *x = exchange_of(r);
    x->on_drained = on_drained;
    x->drained_arg = arg;
    client_queue(&x->client->server->flushing, x->client);
}

void exchange_left(struct exchange *x)
{
    void (*on_left)(void *arg) = x->on_left;
    x->on_left = NULL;
    if (on_left)
        on_left(x->left_arg);
}

void http_on_left(struct http_request *r, void (*on_left)(void *arg), void *arg)
{
    struct exchange *x = exchange_of(r);
    x->on_left = on_left;
    x->left_arg = arg;
    if (x->client->conn.eof)
        exchange_left(x);
}

void http_end(struct http_request *r)
{
    struct exchange *x = exchange_of(r);
    struct client *c = x->client;
    if (!is_gone(c) && x->chunked_answer) {
        if (!c->conn.out.data)
            buf_pool_take(&c->server->pool, &c->conn.out);
        buf_add_slice(&c->conn.out, SLICE("0\r\n\r\n"));
    }
    answer_end(x);
}

void http_abort(struct http_request *r)
{
    struct exchange *x = exchange_of(r);
    x->client->closing = x->client->cut = true;
    x->source.more = NULL;
    answer_end(x);
}

bool http_gone(const struct http_request *r)
{
    return is_gone(((const struct exchange *)(const void *)r)->client);
}

/* ---- errors that this layer answers with ---- */

void refusal_render(struct http_server *s, struct buf *out, const struct http_refusal *r, const struct exchange *x)
{
    struct buf body = {0}, headers = {0};
    struct http_answer a = {0};
    s->render(&body, r, &a);
    buf_add_slice(&headers, a.headers);
    buf_add_slice(&headers, r->headers);
    buf_add_slice(&headers, SLICE("X-Content-Type-Options: nosniff\r\n"));
    if (a.status == 429 || a.status == 503)
        buf_add_slice(&headers, SLICE("Retry-After: 1\r\n"));
    a.headers = buf_slice(&headers);
    a.close = true;
    head_render(s, out, &a, &(struct framing){.sized = true, .size = buf_size(&body)}, x);
    buf_add_slice(out, buf_slice(&body));
    buf_fini(&headers);
    buf_fini(&body);
}

void answer_refusal(struct client *c, const struct http_refusal *r)
{
    struct http_server *s = c->server;
    if (!c->conn.out.data)
        buf_pool_take(&s->pool, &c->conn.out);
    struct exchange *x = client_exchange(c);
    count(x, err_status(r->error), NULL);
    refusal_render(s, &c->conn.out, r, x);
    deadline_clear(&c->deadline);
    c->closing = c->linger = true;
    c->state = CLIENT_SENDING;
    client_queue(&s->flushing, c);
}

bool http_value_ok(slice value)
{
    return chars_text(value.p, 0, value.n) == value.n;
}

bool http_header_ok(slice name, slice value)
{
    for (size_t i = 0; i < name.n; i++)
        if (!char_is(name.p[i], CHAR_TOKEN))
            return false;
    return name.n > 0 && http_value_ok(value);
}
