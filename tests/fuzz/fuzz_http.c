/*
 * Request heads and chunked bodies from arbitrary bytes. Besides not crashing: the result does not depend on how the
 * input is split, slices stay inside the input, and no invalid head is accepted.
 *
 * The first byte is the size of the pieces in which the rest is fed; 0 counts as 1.
 */
#include <stdlib.h>

#include "base/buf.h"
#include "base/ensure.h"
#include "net/http_chars.h"
#include "net/http_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_within(slice part, slice whole)
{
    return part.n == 0 || (part.p >= whole.p && part.p + part.n <= whole.p + whole.n);
}

static bool is_clean(slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!char_is(s.p[i], CHAR_TEXT))
            return false;
    return true;
}

static void check_head(const struct http_head *h, slice in)
{
    ENSURE(is_within(h->method, in));
    ENSURE(is_within(h->path, in));
    ENSURE(is_within(h->query, in));
    ENSURE(h->path.n > 0);
    ENSURE(h->path.p[0] == '/');
    ENSURE(h->path.n + h->query.n <= HTTP_TARGET_MAX);
    ENSURE(h->minor == 0 || h->host.n > 0);
    ENSURE(!h->chunked || !h->has_length);
    for (size_t i = 0; i < h->header_count; i++) {
        ENSURE(is_within(h->headers[i].name, in));
        ENSURE(is_within(h->headers[i].value, in));
        ENSURE(h->headers[i].name.n > 0);
        ENSURE(is_clean(h->headers[i].value));
    }
}

static void check_unescape(slice in)
{
    char *out = malloc(in.n + 1);
    long n = http_unescape(in, out, false);
    ENSURE(n <= (long)in.n);
    for (long i = 0; i < n; i++)
        ENSURE((unsigned char)out[i] >= 0x20);
    free(out);
}

static long head_stepwise(slice in, size_t step, struct http_head *h, int *error)
{
    size_t scanned = 0;
    long size = HTTP_MORE;
    const char *detail;
    for (size_t n = 0; size == HTTP_MORE && n < in.n;) {
        n = n + step < in.n ? n + step : in.n;
        size = http_parse_head(slice_of(in.p, n), &scanned, h, error, &detail);
    }
    return size;
}

static long fuzz_head(slice in, size_t step)
{
    static struct http_head whole, steps;
    int error = 0, error_steps = 0;
    long size = head_stepwise(in, in.n, &whole, &error);
    ENSURE(head_stepwise(in, step, &steps, &error_steps) == size);
    ENSURE(error == error_steps);
    if (size > 0) {
        ENSURE(size <= HTTP_HEAD_MAX);
        check_head(&whole, in);
        ENSURE(whole.header_count == steps.header_count);
        ENSURE(slice_eq(whole.path, steps.path));
        check_unescape(whole.path);
        check_unescape(whole.query);
    }
    return size;
}

static long chunks_stepwise(slice in, size_t step, struct buf *body, bool *done)
{
    struct http_chunks c = {0};
    long all = 0;
    *done = false;
    for (size_t at = 0; at < in.n && !*done; at += step) {
        size_t n = step < in.n - at ? step : in.n - at, decoded;
        char *raw = malloc(n);
        memcpy(raw, in.p + at, n);
        long took = http_chunks_feed(&c, raw, n, &decoded, done);
        if (took >= 0) {
            ENSURE(decoded <= (size_t)took);
            ENSURE(*done || (size_t)took == n);
            buf_add(body, raw, decoded);
        }
        free(raw);
        if (took < 0)
            return took;
        all += took;
    }
    return all;
}

static void fuzz_chunks(slice in, size_t step)
{
    struct buf whole = {0}, steps = {0};
    bool done, done_steps;
    long all = chunks_stepwise(in, in.n, &whole, &done);
    ENSURE(chunks_stepwise(in, step, &steps, &done_steps) == all);
    if (all >= 0) {
        ENSURE(done == done_steps);
        ENSURE(slice_eq(buf_slice(&whole), buf_slice(&steps)));
    }
    buf_fini(&whole);
    buf_fini(&steps);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    size_t step = data[0] ? data[0] : 1;
    slice in = slice_of((const char *)data + 1, size - 1);
    long head = fuzz_head(in, step);
    slice body = head > 0 ? slice_skip(in, (size_t)head) : in;
    if (body.n > 0)
        fuzz_chunks(body, step);
    check_unescape(in);
    return 0;
}
