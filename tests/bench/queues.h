/*
 * How consume.c takes messages from each server: its steps, by protocol. A part of consume.c, which alone includes it.
 */
#ifndef BENCH_QUEUES_H
#define BENCH_QUEUES_H

#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "base/mem.h"
#include "bench/wire/big_endian.h"
#include "bench/wire/wire.h"

enum { AMQP_HEAD = 7, AMQP_END = 0xce };

struct peer {
    int fd;
    unsigned number, acks;           /* messages of the last step, whose tokens are in `tokens`, each with a NUL */
    unsigned got, confirmed;         /* of this step, so far: messages, and acknowledgements that were answered */
    bool empty;                      /* there are no more */
    bool begun;
    uint64_t taken;                  /* messages of all steps */
    uint64_t began_ns;
    struct buf in, out, tokens, next;
};

struct source {
    const char *scheme;
    void (*make)(struct peer *p);
    /* Takes whole replies off p->in. 1: the step is done; 0: not yet; -1: that was no valid reply. */
    int (*take)(struct peer *p);
};

static struct {
    unsigned connections, each;
    double seconds;
    const char *url;
    slice host, first, second;       /* the parts of the path */
    struct order order;
} o = {.connections = 1, .each = 1, .seconds = 2};

static _Noreturn void fail(const char *what, const char *why)
{
    fprintf(stderr, "consume: %s: %s\n", what, why);
    exit(64);
}

static _Noreturn void fail_at(slice answer)
{
    fprintf(stderr, "consume: not the answer that was expected: %.200s\n", mem_copy(answer.p, answer.n));
    exit(1);
}

static void token_add(struct peer *p, slice token)
{
    buf_add_slice(&p->next, token);
    buf_add_char(&p->next, '\0');
    p->got++;
}

/* The next of the tokens to acknowledge: start with *at = 0. */
static slice token_next(const struct peer *p, size_t *at)
{
    slice found = slice_from(p->tokens.data + p->tokens.at + *at);
    *at += found.n + 1;
    return found;
}

static bool step_done(const struct peer *p)
{
    return p->confirmed >= p->acks && (p->got >= o.each || p->empty);
}

/* A line without its CRLF off the front of `rest`. */
static bool line_take(slice *rest, slice *line)
{
    const char *end = memmem(rest->p, rest->n, "\r\n", 2);
    if (end == NULL)
        return false;
    *line = slice_of(rest->p, (size_t)(end - rest->p));
    *rest = slice_skip(*rest, line->n + 2);
    return true;
}

static void in_skip_to(struct peer *p, slice rest)
{
    buf_drop(&p->in, buf_size(&p->in) - rest.n);
}

/* ---- Lignum ---- */

static void lignum_make(struct peer *p)
{
    struct buf body = {0};
    size_t at = 0;
    buf_addf(&body, "{\"limit\":%u", o.each);
    for (unsigned i = 0; i < p->acks; i++) {
        buf_add_slice(&body, i == 0 ? SLICE(",\"settle\":{\"ack\":[\"") : SLICE("\",\""));
        buf_add_slice(&body, token_next(p, &at));
    }
    buf_add_slice(&body, p->acks > 0 ? SLICE("\"]}}") : SLICE("}"));
    buf_addf(&p->out, "POST /%.*s/claim HTTP/1.1\r\nHost: %.*s\r\nContent-Length: %zu\r\n\r\n", SLICE_ARGS(o.first),
             SLICE_ARGS(o.host), buf_size(&body));
    buf_add_slice(&p->out, buf_slice(&body));
    buf_fini(&body);
}

static int lignum_take(struct peer *p)
{
    static const char length[] = "Content-Length: ", lease[] = "{\"lease\":\"";
    slice in = buf_slice(&p->in);
    const char *end = memmem(in.p, in.n, "\r\n\r\n", 4), *found;
    uint64_t size;
    if (end == NULL)
        return 0;
    slice head = slice_of(in.p, (size_t)(end - in.p) + 2);
    found = memmem(head.p, head.n, length, sizeof(length) - 1);
    if (found == NULL || !slice_starts(head, SLICE("HTTP/1.1 200 ")))
        return -1;
    found += sizeof(length) - 1;
    const char *cr = memchr(found, '\r', (size_t)(end + 2 - found));
    if (slice_u64(slice_of(found, (size_t)(cr - found)), &size) < 0)
        return -1;
    slice body = slice_skip(in, head.n + 2);
    if (body.n < size)
        return 0;
    body.n = (size_t)size;
    slice rest = slice_of(body.p + size, in.n - head.n - 2 - (size_t)size);
    const char *settled = memmem(body.p, body.n, "],\"settled\":", 12);
    if (settled != NULL)
        body.n = (size_t)(settled - body.p);
    while ((found = memmem(body.p, body.n, lease, sizeof(lease) - 1)) != NULL) {
        body = slice_skip(body, (size_t)(found - body.p) + sizeof(lease) - 1);
        const char *quote = memchr(body.p, '"', body.n);
        token_add(p, slice_of(body.p, (size_t)(quote - body.p)));
    }
    in_skip_to(p, rest);
    p->confirmed = p->acks;
    p->empty = p->got < o.each;
    return 1;
}

/* ---- Redis ---- */

static void word_add(struct buf *out, slice word)
{
    buf_addf(out, "$%zu\r\n", word.n);
    buf_add_slice(out, word);
    buf_add_slice(out, SLICE("\r\n"));
}

static void redis_make(struct peer *p)
{
    char count[16], name[16];
    size_t at = 0;
    if (p->acks > 0) {
        buf_addf(&p->out, "*%u\r\n", 3 + p->acks);
        word_add(&p->out, SLICE("XACK"));
        word_add(&p->out, o.first);
        word_add(&p->out, o.second);
        for (unsigned i = 0; i < p->acks; i++)
            word_add(&p->out, token_next(p, &at));
    }
    snprintf(count, sizeof(count), "%u", o.each);
    snprintf(name, sizeof(name), "c%u", p->number);
    const slice words[] = {SLICE("XREADGROUP"), SLICE("GROUP"), o.second, slice_from(name), SLICE("COUNT"),
                           slice_from(count), SLICE("STREAMS"), o.first, SLICE(">")};
    buf_addf(&p->out, "*%zu\r\n", sizeof(words) / sizeof(words[0]));
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        word_add(&p->out, words[i]);
}

/* One reply off the front. An id is the first element of an entry, which is at that depth. 0: not whole. */
static int reply_take(struct peer *p, slice *rest, int depth, bool first)
{
    enum { ENTRY = 4 };
    slice line;
    uint64_t n;
    if (!line_take(rest, &line))
        return 0;
    if (line.n == 0)
        return -1;
    slice digits = slice_skip(line, 1);
    if (line.p[0] == ':' || line.p[0] == '+')
        return 1;
    if (line.p[0] == '-')
        fail_at(line);
    bool none = slice_eq(digits, SLICE("-1"));
    if (none && depth == 0)
        p->empty = true;
    if (none)
        return 1;
    if (slice_u64(digits, &n) < 0)
        return -1;
    if (line.p[0] == '$') {
        if (rest->n < n + 2)
            return 0;
        if (depth == ENTRY && first)
            token_add(p, slice_of(rest->p, (size_t)n));
        *rest = slice_skip(*rest, (size_t)n + 2);
        return 1;
    }
    for (uint64_t i = 0; i < n; i++) {
        int rc = reply_take(p, rest, depth + 1, i == 0);
        if (rc <= 0)
            return rc;
    }
    return 1;
}

static int redis_take(struct peer *p)
{
    slice rest = buf_slice(&p->in);
    int rc = 1;
    for (unsigned replies = p->acks > 0 ? 2 : 1; rc > 0 && replies > 0; replies--)
        rc = reply_take(p, &rest, 0, false);
    if (rc <= 0) {
        p->got = 0;                  /* it is read again when there is more of it */
        buf_clear(&p->next);
        return rc;
    }
    in_skip_to(p, rest);
    p->confirmed = p->acks;
    p->empty = p->empty || p->got < o.each;
    return 1;
}

/* ---- NATS ---- */

static void nats_make(struct peer *p)
{
    char ask[64];
    size_t at = 0;
    for (unsigned i = 0; i < p->acks; i++)
        buf_addf(&p->out, "PUB %s _INBOX.%u 4\r\n+ACK\r\n", token_next(p, &at).p, p->number);
    int n = snprintf(ask, sizeof(ask), "{\"batch\":%u,\"expires\":1000000000}", o.each);
    buf_addf(&p->out, "PUB $JS.API.CONSUMER.MSG.NEXT.%.*s.%.*s _INBOX.%u %d\r\n%s\r\n", SLICE_ARGS(o.first),
             SLICE_ARGS(o.second), p->number, n, ask);
}

static int nats_take(struct peer *p)
{
    slice rest = buf_slice(&p->in), line;
    while (!step_done(p) && line_take(&rest, &line)) {
        slice words[6], all = line;
        size_t count = 0;
        uint64_t size;
        while (count < 6 && slice_split(&all, ' ', &words[count]))
            count++;
        if (!slice_starts(line, SLICE("MSG ")) && !slice_starts(line, SLICE("HMSG "))) {
            in_skip_to(p, rest);     /* PING, which is not answered, as in wire/nats.c */
            continue;
        }
        if (count < 4 || slice_u64(words[count - 1], &size) < 0)
            return -1;
        if (rest.n < size + 2)
            return 0;
        rest = slice_skip(rest, (size_t)size + 2);
        in_skip_to(p, rest);
        if (line.p[0] == 'H')
            p->empty = true;
        else if (slice_starts(words[1], SLICE("_INBOX")))
            p->confirmed++;
        else if (count == 5)
            token_add(p, words[3]);
    }
    return step_done(p);
}

/* ---- beanstalkd ---- */

static void beanstalk_make(struct peer *p)
{
    size_t at = 0;
    for (unsigned i = 0; i < p->acks; i++)
        buf_addf(&p->out, "delete %s\r\n", token_next(p, &at).p);
    for (unsigned i = 0; i < o.each; i++)
        buf_add_slice(&p->out, SLICE("reserve-with-timeout 0\r\n"));
}

static int beanstalk_take(struct peer *p)
{
    slice rest = buf_slice(&p->in), line, word;
    while (p->confirmed + p->got < p->acks + o.each && line_take(&rest, &line)) {
        uint64_t size = 0;
        if (slice_eq(line, SLICE("DELETED"))) {
            p->confirmed++;
        } else if (slice_eq(line, SLICE("TIMED_OUT"))) {
            p->empty = true;
            return 1;
        } else if (slice_starts(line, SLICE("RESERVED "))) {
            slice id, words = line;
            slice_split(&words, ' ', &word);
            if (!slice_split(&words, ' ', &id) || slice_u64(words, &size) < 0)
                return -1;
            if (rest.n < size + 2)
                return 0;
            rest = slice_skip(rest, (size_t)size + 2);
            token_add(p, id);
        } else {
            return -1;
        }
        in_skip_to(p, rest);
    }
    return step_done(p);
}

/* ---- AMQP ---- */

static void method_add(struct buf *out, struct buf *payload)
{
    u_add(out, 1, 1);
    u_add(out, 1, 2);
    u_add(out, buf_size(payload), 4);
    buf_add_slice(out, buf_slice(payload));
    u_add(out, AMQP_END, 1);
    buf_clear(payload);
}

static void amqp_make(struct peer *p)
{
    struct buf b = {0};
    if (p->begun) {
        u_add(&b, 60 << 16 | 80, 4);                   /* ack of all up to the last one taken */
        u_add(&b, p->taken, 8);
        u_add(&b, 1, 1);
        method_add(&p->out, &b);
    } else {
        u_add(&b, 60 << 16 | 10, 4);                   /* qos: so many may be out */
        u_add(&b, 0, 4);
        u_add(&b, 2 * o.each, 2);
        u_add(&b, 0, 1);
        method_add(&p->out, &b);
        u_add(&b, 60 << 16 | 20, 4);                   /* consume, without an answer */
        u_add(&b, 0, 2);
        u_add(&b, o.first.n, 1);
        buf_add_slice(&b, o.first);
        u_add(&b, 0, 1);
        u_add(&b, 8, 1);
        u_add(&b, 0, 4);
        method_add(&p->out, &b);
    }
    buf_fini(&b);
}

static int amqp_take(struct peer *p)
{
    enum { METHOD = 1, BODY = 3 };
    p->confirmed = p->acks;
    while (p->got < o.each && buf_size(&p->in) >= AMQP_HEAD) {
        const char *at = p->in.data + p->in.at;
        size_t size = u_at(at + 3, 4) + AMQP_HEAD + 1;
        if (buf_size(&p->in) < size)
            return 0;
        uint32_t method = at[0] == METHOD ? u_at(at + AMQP_HEAD, 4) : 0;
        if (method == (20 << 16 | 40) || method == (10 << 16 | 50))
            fail("the server closed", "the channel or the connection");
        if (at[0] == BODY)
            token_add(p, SLICE(""));
        buf_drop(&p->in, size);
    }
    return p->got >= o.each;
}

static const struct source sources[] = {
    {"http", lignum_make, lignum_take}, {"redis", redis_make, redis_take}, {"nats", nats_make, nats_take},
    {"beanstalk", beanstalk_make, beanstalk_take}, {"amqp", amqp_make, amqp_take}};

#endif
