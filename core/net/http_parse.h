/*
 * Parsing of HTTP/1.1 requests by RFC 9112, without tolerance for what it calls invalid (doc/http.md, "Strictness").
 *
 * A header that is given twice is a list, and means its values joined by ", " (RFC 9110, section 5.3); one that can
 * have a single value only is refused. Whoever reads a header that may be a list reads it by http_head_join, or line by
 * line.
 *
 * Pure functions: all state is in the arguments. Slices point into the input.
 */
#ifndef NET_HTTP_PARSE_H
#define NET_HTTP_PARSE_H

#include "base/buf.h"
#include "base/limits.h"
#include "net/http_names.h"

enum { HTTP_BAD = -1, HTTP_MORE = -2 };

struct http_header {
    slice name, value;
    enum http_name known;            /* which name it is, if the core has a use for it */
};

struct http_head {
    slice method, path, query;       /* path and query as sent, still percent-encoded; query without '?' */
    int minor;                       /* HTTP/1.minor: 0 or 1 */
    size_t header_count;
    struct http_header headers[HTTP_HEADERS_MAX];
    uint64_t names;                  /* NAME_BIT of each header */
    slice host;
    slice origin, site;              /* Origin, Sec-Fetch-Site; p == NULL: none */
    slice type;                      /* Content-Type; p == NULL: none */
    bool coded;                      /* Content-Encoding has a coding that changes the body: any but identity */
    uint64_t content_length;         /* 0 when there is none */
    bool has_length, chunked;
    bool expect_continue;
    bool keep_alive;
};

/* Reads a request head from the start of `in`. Its size in bytes; HTTP_MORE; or HTTP_BAD with the reason: *error is a
 * negative err.h code, *detail a sentence that names what is wrong. *scanned is where the last call stopped looking for
 * the end (0 at first), so that a head sent byte by byte costs O(n). */
long http_parse_head(slice in, size_t *scanned, struct http_head *head, int *error, const char **detail);

static inline bool http_head_has(const struct http_head *head, enum http_name name)
{
    return (head->names & NAME_BIT(name)) != 0;
}

/* The number of the first line from `from` on with that name in any case; head->header_count when there is none. */
size_t http_head_next(const struct http_head *head, slice name, size_t from);

/* The value of a header, or p == NULL. Of several lines it is the list of their values, which is written to `out`. */
slice http_head_join(const struct http_head *head, slice name, struct buf *out);

/* The state of decoding a chunked body; a zeroed one is at its beginning. The states are in http_chunks.c. */
struct http_chunks {
    uint64_t left;                   /* of the current chunk */
    size_t trailer_bytes, line_bytes;
    int state;
};
/* Decodes n raw bytes at p in place: the *decoded bytes of data are moved to the front of p. Returns the number of raw
 * bytes used, which is n unless the body has ended and *done is set; or HTTP_BAD. */
long http_chunks_feed(struct http_chunks *c, char *p, size_t n, size_t *decoded, bool *done);

/* Percent-decodes into out, which has room for in.n bytes; with `form`, '+' becomes a space. The decoded length, or
 * HTTP_BAD for a malformed escape, a NUL or a control byte. */
long http_unescape(slice in, char *out, bool form);

#endif
