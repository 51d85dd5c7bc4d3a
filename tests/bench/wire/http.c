/* HTTP/1.1: Lignum, the bare program, nginx, etcd's version 2. */
#include "bench/wire/wire.h"

static void make(struct buf *out, const struct order *o, unsigned topic)
{
    bool body = o->body.n > 0;
    const char *method = o->method ? o->method : body ? "POST" : "GET";
    buf_addf(out, "%s ", method);
    path_add(out, o->path, topic);
    buf_addf(out, " HTTP/1.1\r\nHost: %.*s\r\n", SLICE_ARGS(o->host));
    buf_add_slice(out, o->headers);
    if (body && !o->typed)
        buf_addf(out, "Content-Type: %s\r\n", o->lines ? "application/x-ndjson" : "application/octet-stream");
    if (body)
        buf_addf(out, "Content-Length: %zu\r\n", o->body.n);
    buf_add_slice(out, SLICE("\r\n"));
}

static void header_apply(struct answer *a, slice name, slice value)
{
    uint64_t length;
    if (slice_ieq(name, SLICE("content-length")) && slice_u64(value, &length) == 0) {
        a->left = length;
        a->to_end = false;
    } else if (slice_ieq(name, SLICE("transfer-encoding"))) {
        a->chunked = true;
        a->to_end = false;
    } else if (slice_ieq(name, SLICE("connection"))) {
        a->closing = slice_ieq(value, SLICE("close"));
    }
}

static bool head_apply(struct answer *a, slice head)
{
    slice line, name;
    uint64_t status;
    slice_split(&head, '\n', &line);
    if (line.n < 12 || !slice_starts(line, SLICE("HTTP/1.")) || slice_u64(slice_of(line.p + 9, 3), &status) < 0)
        return false;
    if (status >= 600)
        return false;
    a->status = (int)status;
    a->in_body = a->to_end = true;
    while (slice_split(&head, '\n', &line) && line.n > 1) {
        line.n--;
        if (slice_split(&line, ':', &name))
            header_apply(a, name, slice_trim(line));
    }
    if (a->bodiless || status == 204 || status == 304) {
        a->to_end = a->chunked = false;
        a->left = 0;
    }
    return true;
}

static int body_take(struct answer *a, char *at, size_t n)
{
    bool done;
    size_t decoded;
    if (a->chunked) {
        long took = http_chunks_feed(&a->chunks, at, n, &decoded, &done);
        return took < 0 || (done && (size_t)took < n) ? -1 : done;
    }
    if (a->to_end)
        return 0;
    if (n > a->left)
        return -1;
    a->left -= n;
    return a->left == 0;
}

static int take(struct answer *a, char *in, size_t n, size_t *took)
{
    size_t head = 0;
    if (!a->in_body) {
        char *end = memmem(in, n, "\r\n\r\n", 4);
        if (!end)
            return 0;
        head = (size_t)(end - in) + 4;
        if (!head_apply(a, slice_of(in, head)))
            return -1;
    }
    *took = n;
    return body_take(a, in + head, n - head);
}

const struct wire wire_http = {.scheme = "http", .body_apart = true, .make = make, .take = take};
