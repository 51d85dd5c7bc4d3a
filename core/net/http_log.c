/*
 * The log of requests: a line for each answer, when its head is made.
 *
 *     request id=5d2c9a3e00000017 client=127.0.0.1:50123 method=POST path=/v1/topics/orders/messages user=ada
 *     topic=orders status=200 ms=0.412 received=120 bytes=171                                      (on one line)
 *
 * Neither queries nor headers are logged, which may have secrets, nor bodies. `ms` is the time since the request was
 * whole, waits included. `bytes` is the size of the answer's body; a stream's is not known yet.
 */
#include <sys/random.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/say.h"
#include "net/http_server.h"

void http_log_requests(struct http_server *s, bool on)
{
    uint32_t start;
    if (on && !s->logs) {
        ENSURE(getrandom(&start, sizeof(start), 0) == sizeof(start));
        s->last_id = (uint64_t)start << 32;
    }
    s->logs = on;
}

void http_note(struct http_request *r, slice user, slice topic)
{
    struct buf *note = &((struct exchange *)(void *)r)->note;
    buf_clear(note);
    if (user.n > 0)
        say_field(note, "user", user);
    if (topic.n > 0)
        say_field(note, "topic", topic);
}

/* A head that is not whole, or is not where it was, has no request line to show. */
static void add_line(struct buf *out, const struct exchange *x)
{
    const struct http_head *head = &x->request.head;
    if (!x->parsed || x->moved)
        return;
    say_field(out, "method", head->method);
    say_field(out, "path", head->path);
}

void exchange_log(struct exchange *x, int status, const uint64_t *bytes)
{
    struct http_server *s = x->client->server;
    struct buf line = {0};
    x->id = ++s->last_id;
    buf_addf(&line, " id=%016llx", (unsigned long long)x->id);
    say_field(&line, "client", slice_of(x->client->peer, x->client->peer_size));
    add_line(&line, x);
    buf_add_slice(&line, buf_slice(&x->note));
    buf_addf(&line, " status=%d", status);
    if (x->request.whole_ns > 0)
        buf_addf(&line, " ms=%.3f received=%zu", (double)(clock_ns() - x->request.whole_ns) / 1e6, x->request.body.n);
    if (bytes != NULL)
        buf_addf(&line, " bytes=%llu", (unsigned long long)*bytes);
    say_text(SAY_INFO, "http", SLICE("request"), buf_slice(&line));
    buf_fini(&line);
}
