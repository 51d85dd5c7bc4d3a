/*
 * The HTTP server: connections, limits, deadlines, one request in flight per connection.
 *
 * Whole requests come out of http_next; each is answered by exactly one http_answer (or by http_begin,
 * http_chunk... and http_end), also when its client is gone: the answer is then dropped. A request and its
 * slices live until then. Framing errors, limits and timeouts are answered here; the caller never sees them.
 */
#ifndef NET_HTTP_H
#define NET_HTTP_H

#include "base/buf.h"
#include "base/hist.h"
#include "net/http_parse.h"
#include "net/loop.h"

struct http_server;

struct http_limits {
    uint32_t connections;            /* HTTP_CONNECTIONS_MAX, or fewer where descriptors are short */
    uint64_t body;                   /* bytes of one request body */
    uint64_t bodies;                 /* bytes of all of them; and, counted apart, of answers not yet taken */
    uint32_t head_ms, body_ms, idle_ms, write_ms;
};

struct http_request {
    struct http_head head;
    slice body;                      /* decoded */
    uint64_t began_ns;               /* its first byte arrived */
    unsigned route;                  /* for the counters: what http_route returned; 0 = none */
    slice peer;                      /* "127.0.0.1:50123" */
};

struct http_answer {
    int status;
    slice type;                      /* Content-Type; n == 0: none */
    slice headers;                   /* further lines, each ended by CRLF; checked by the caller with http_header_ok */
    bool close;
};

/* An error that this layer answers itself. */
struct http_refusal {
    int error;
    slice detail;                    /* n == 0: the error's own sentence */
    uint64_t limit;                  /* the limit that was exceeded; 0: none */
};

/* Renders such an error; set by the script layer, plain text otherwise. `Connection: close`, and Retry-After with 429
 * and 503, are added here. */
typedef void http_render_error(struct buf *out, const struct http_refusal *refusal, struct http_answer *answer);

struct http_server *http_server_new(struct loop *l, const struct http_limits *limits);

/* "127.0.0.1:8080", "[::1]:8080", "0.0.0.0:0"; may be called several times. 0 or -errno. The port is in *port. */
int http_listen(struct http_server *s, slice address, uint16_t *port);
void http_set_limits(struct http_server *s, const struct http_limits *limits);
void http_on_error(struct http_server *s, http_render_error *render);

/* Orderly end: stops listening, closes idle connections, answers what is in flight with Connection: close.
 * http_drained says when no connection is left; http_server_free closes whatever is left at once. */
void http_drain(struct http_server *s);
bool http_drained(const struct http_server *s);
void http_server_free(struct http_server *s);

/* Step 1 of the turn: bytes that arrived become requests. NULL when there is no further one in this turn. */
struct http_request *http_next(struct http_server *s);

/* Step 6: answers go to their sockets, finished connections are closed. */
void http_flush(struct http_server *s);

/* The whole answer. `body` is copied; http_answer_take takes over the memory instead. HEAD gets no body, but its
 * length. */
void http_answer(struct http_request *r, const struct http_answer *a, slice body);
void http_answer_take(struct http_request *r, const struct http_answer *a, struct buf *body);

/* The answer's body is size bytes of a file, sent from the page cache; fd is closed in the end. */
void http_answer_file(struct http_request *r, const struct http_answer *a, int fd, uint64_t position, uint64_t size);

/* An answer of unknown length: chunked (or ended by closing, for HTTP/1.0). http_chunk returns how many bytes wait
 * unsent; above a bound of the caller's choice wait for on_drained, which is called once (from http_flush or the
 * loop; it only records) when all of them have gone, or with the client gone: http_gone then says so. */
void http_begin(struct http_request *r, const struct http_answer *a);
size_t http_chunk(struct http_request *r, slice bytes);
void http_on_drained(struct http_request *r, void (*on_drained)(void *arg), void *arg);
void http_end(struct http_request *r);

/* Tells, once, when the client has closed its side or is gone while its request is being answered; at once if that
 * has happened already. It only records. A client that has merely closed its sending side still gets the answer. */
void http_on_left(struct http_request *r, void (*on_left)(void *arg), void *arg);
void http_abort(struct http_request *r);   /* instead of http_end: closes it, so that the client sees it cut off */
bool http_gone(const struct http_request *r);

/* Is this name and value fit for a header line (a token; no CR, LF, NUL or other control byte)? */
bool http_header_ok(slice name, slice value);
bool http_value_ok(slice value);

/* Counters by route pattern: registers "POST /v1/topics/{topic}/messages" once and returns its number from 1 on.
 * 0 ("other") when there are more than fit. */
unsigned http_route(struct http_server *s, slice pattern);

struct http_route_stats {
    slice pattern;
    uint64_t by_class[6];            /* answers of 1xx ... 5xx at 1 to 5 */
    struct hist latency;             /* first byte of the request to the end of its answer's making */
};
struct http_stats {
    uint32_t connections, requests_in_flight;
    uint64_t accepted, refused, requests, bytes_in, bytes_out, bad_requests, timeouts;
    const struct http_route_stats *routes;
    unsigned route_count;
};
void http_stats(const struct http_server *s, struct http_stats *out);

#endif
