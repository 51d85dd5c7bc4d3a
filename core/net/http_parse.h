/*
 * Parsing of HTTP/1.1 requests by RFC 9112 with nothing left to interpretation (doc/http.md, "Strictness").
 *
 * Pure functions: bytes in, result out, no state but what is passed. Slices point into the input.
 */
#ifndef NET_HTTP_PARSE_H
#define NET_HTTP_PARSE_H

#include "base/limits.h"
#include "base/slice.h"

enum { HTTP_BAD = -1, HTTP_MORE = -2 };

struct http_header {
    slice name, value;
};

struct http_head {
    slice method, path, query;       /* path and query as sent, still percent-encoded; query without '?' */
    int minor;                       /* HTTP/1.minor: 0 or 1 */
    size_t header_count;
    struct http_header headers[HTTP_HEADERS_MAX];
    slice host;
    slice type, coding;              /* the first Content-Type and Content-Encoding; p == NULL: none */
    uint64_t content_length;         /* 0 when there is none */
    bool has_length, chunked;
    bool expect_continue;
    bool keep_alive;
};

/* Reads a request head from the start of `in`. The number of bytes it takes, HTTP_MORE, or HTTP_BAD with the
 * reason: *error is a negative err.h code, *detail a sentence naming what is wrong. `scanned` is where the last
 * call stopped looking for the end (0 at first; in and out), so that a head sent byte by byte costs O(n). */
long http_parse_head(slice in, size_t *scanned, struct http_head *head, int *error, const char **detail);

/* The value of a header (name in lower case), or p == NULL. */
slice http_head_find(const struct http_head *head, slice name);

/* Decoding of a chunked body, in place: `data` holds raw bytes from `raw` on, and decoded ones before `decoded`. */
struct http_chunks {
    uint64_t left;                   /* of the present chunk */
    size_t trailer_bytes, line_bytes;
    int state;
};
/* Feeds n raw bytes at p; decoded bytes are moved to the front of p and *decoded counts them. The number of raw
 * bytes taken (== n unless the body ended), with *done at its end; or HTTP_BAD. A zeroed struct begins. */
long http_chunks_feed(struct http_chunks *c, char *p, size_t n, size_t *decoded, bool *done);

/* Percent-decodes into out (at least n bytes); '+' becomes a space where `form`. The decoded length or HTTP_BAD
 * (malformed escape, NUL or control byte). */
long http_unescape(slice in, char *out, bool form);

#endif
