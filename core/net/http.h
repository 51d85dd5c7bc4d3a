/*
 * The HTTP server: connections, limits, deadlines, one request in flight per connection.
 *
 * http_next returns whole requests. Each must be answered once, by http_answer (or http_answer_take, http_answer_file,
 * http_answer_source, or http_begin, http_chunk... and http_end), also when its client is gone: the answer is then
 * dropped. A request and its slices are valid until then. Malformed requests, limits and timeouts are answered here;
 * the caller never sees them.
 *
 * The server is one module in several files: http.c (connections, the turn), http_listen.c (accepting), http_address.c
 * (who holds what), http_handshake.c (TLS handshakes, certificates), http_request.c (bytes to requests; http_parse.c,
 * http_chunks.c, http_uri.c, http_chars.c parse), http_browser.c (which browsers' requests are served),
 * http_answer.c (answers to bytes), http_log.c (the log of requests), http_status.c (phrases), http_flush.c (bytes to
 * sockets), http_stats.c (counters).
 * http_server.h is their common inside.
 */
#ifndef NET_HTTP_H
#define NET_HTTP_H

#include "base/buf.h"
#include "base/hist.h"
#include "net/http_parse.h"
#include "net/loop.h"
#include "net/quota.h"

struct http_server;

struct http_limits {
    uint32_t client_connections;     /* of one address; 0: no limit */
    uint32_t connections;            /* HTTP_CONNECTIONS_MAX, or fewer if there are too few descriptors */
    uint32_t files;                  /* answers from a file at once, each with a descriptor; 0: no limit of their own */
    uint64_t body;                   /* bytes of one request body */
    uint64_t bodies;                 /* bytes of all request bodies; and as many of all answers not yet sent: above
                                        that, clients that take nothing are disconnected */
    uint32_t head_ms, body_ms, idle_ms, write_ms;
};

struct http_request {
    struct http_head head;
    slice body;                      /* decoded */
    uint64_t began_ns, whole_ns;     /* when its first and its last byte arrived */
    uint64_t waited_ns;              /* set by the handler: how long it waited for something that others do */
    unsigned route;                  /* for the counters, as http_route returned it; 0: none */
    slice peer;                      /* "127.0.0.1:50123" */
    bool secure;                     /* it came by TLS */
    slice user;                      /* the name in the client's certificate; n == 0: none */
};

struct http_answer {
    int status;
    slice type;                      /* Content-Type; n == 0: none */
    slice headers;                   /* more lines, each ended by CRLF; the caller has checked them (http_header_ok) */
    bool close;
};

/* An error that this layer answers with. */
struct http_refusal {
    int error;
    slice detail;                    /* n == 0: the error's own sentence */
    uint64_t limit;                  /* the limit that was exceeded; 0: none */
    slice headers;                   /* more lines, each ended by CRLF */
};

/* Renders the body and the headers of such an error. The server adds `Connection: close`, nosniff, and Retry-After to
 * 429 and 503. */
typedef void http_render_error(struct buf *out, const struct http_refusal *refusal, struct http_answer *answer);

/* What browsers may send (http_browser.c). Each is a list of words, separated by spaces. */
struct http_browsers {
    slice origins;                   /* whose pages are let in, besides those of this server; "*": all */
    slice hosts;                     /* names in Host that are taken on loopback, besides addresses and localhost */
};

struct http_server *http_server_new(struct loop *l, const struct http_limits *limits);

/* "127.0.0.1:8080", "[::1]:8080", "0.0.0.0:0"; may be called several times. 0 or -errno. The port is in *port. */
int http_listen(struct http_server *s, slice address, uint16_t *port);

/* TLS on the listener that was opened as number i, from 0 on, or another certificate there; shares `tls`. Connections
 * live on with the certificate they have seen, except those that the new one's client_ca does not let in. */
struct tls_server;
void http_secure(struct http_server *s, unsigned i, struct tls_server *tls);
struct tls_server *http_tls(const struct http_server *s, unsigned i);   /* NULL: plain, or no such listener */
unsigned http_listeners(const struct http_server *s);
int http_listener_at(const struct http_server *s, slice address);   /* its number, by http_listen's text; -1: none */
slice http_listener_address(const struct http_server *s, unsigned i);

void http_set_limits(struct http_server *s, const struct http_limits *limits);
void http_set_browsers(struct http_server *s, const struct http_browsers *b);   /* copied; until then: all is let in */
void http_on_error(struct http_server *s, http_render_error *render);   /* until then: plain text */

/* Requests for such a path are served beyond limits.connections too, on places of their own: health checks, without
 * which a node loses the leadership. */
void http_reserve(struct http_server *s, bool (*is_reserved)(slice path));

/* Counts what is sent to clients, and the connections that are refused; outlives the server. */
void http_count(struct http_server *s, struct quotas *quotas);

/* From now on what is sent on the request's connection is this client's. The bytes that the request has sent. */
size_t http_bill(struct http_request *r, struct quota_ref client);

/* The address of a request's client, as one of an IPv4 host or an IPv6 network; for quota_client. */
slice http_address(const struct http_request *r);

/* Called with a head whose body has not arrived yet: sets out->error to answer at once and close, instead of reading
 * that body. Paths that do not exist, so that strangers' bodies take no memory. */
typedef void http_judge(void *arg, const struct http_request *r, struct http_refusal *out);
void http_on_head(struct http_server *s, http_judge *judge, void *arg);

/* Closes idle connections and answers requests in flight with Connection: close. New clients are served as beyond
 * limits.connections: only paths of http_reserve are answered, others with 503 `stopping`. */
void http_drain(struct http_server *s);

/* Stops listening as well. http_drained is true once no connection is left; http_server_free closes those that are left
 * at once. */
void http_stop_listening(struct http_server *s);
bool http_drained(const struct http_server *s);
void http_server_free(struct http_server *s);

/* Step 1 of the turn: the next request that has arrived whole, or NULL. */
struct http_request *http_next(struct http_server *s);

/* Step 6: answers go to their sockets, finished connections are closed. */
void http_flush(struct http_server *s);

/* Answers with a body that is copied; http_answer_take takes its memory over instead. HEAD gets no body, but its
 * length. */
void http_answer(struct http_request *r, const struct http_answer *a, slice body);
void http_answer_take(struct http_request *r, const struct http_answer *a, struct buf *body);

/* Answers with `size` bytes of a file, sent from the page cache; fd is taken over. */
void http_answer_file(struct http_request *r, const struct http_answer *a, int fd, uint64_t position, uint64_t size);

/* Answers with a body that is rendered as the client takes it, framed as below. `more` appends the next piece; false:
 * it was the last. `free` is called once the answer has ended, however it ends. `holds`: the memory that the source
 * owns, which counts as unsent. */
struct http_source {
    bool (*more)(void *source, struct buf *out);
    void (*free)(void *source);
    void *source;
    size_t holds;
};
void http_answer_source(struct http_request *r, const struct http_answer *a, const struct http_source *source);

/* Answers with a body of unknown length: chunked, or ended by closing for HTTP/1.0. http_chunk returns the number of
 * bytes that wait to be sent; above a bound of its own the caller waits for on_drained. That is called once, from
 * http_flush or the loop, and only records: when all bytes are sent, or when the client is gone (http_gone). */
void http_begin(struct http_request *r, const struct http_answer *a);
size_t http_chunk(struct http_request *r, slice bytes);

/* The same with bytes that are rendered as the client takes them: nothing else may be added before on_drained. */
void http_chunk_source(struct http_request *r, const struct http_source *source);
void http_on_drained(struct http_request *r, void (*on_drained)(void *arg), void *arg);
void http_end(struct http_request *r);

/* Whether each answer is logged, and has the id of its line as `Lignum-Request-Id` (http_log.c); off at first. What the
 * handler knows of a request is noted before its answer: the user that it is let in as, and its topic; both copied. */
void http_log_requests(struct http_server *s, bool on);
void http_note(struct http_request *r, slice user, slice topic);

/* Calls on_left once, when the client closes its sending side or is gone before it is answered; at once if that has
 * happened already. on_left only records. A client that has only closed its sending side still gets the answer. */
void http_on_left(struct http_request *r, void (*on_left)(void *arg), void *arg);
void http_abort(struct http_request *r);   /* instead of http_end: closes it, so that the client sees a cut answer */
bool http_gone(const struct http_request *r);

/* True when name and value can be a header line: a token; no CR, LF, NUL or other control byte. */
bool http_header_ok(slice name, slice value);
bool http_value_ok(slice value);

/* The number of a route pattern ("POST /v1/topics/{topic}/messages") for the counters, from 1 on; a new one is added.
 * 0 ("other") when there are too many. */
unsigned http_route(struct http_server *s, slice pattern);

struct http_route_stats {
    slice pattern;
    uint64_t by_class[6];            /* answers of 1xx ... 5xx at 1 to 5 */
    struct hist latency;             /* from a whole request to its answer, without waited_ns */
};
struct http_stats {
    uint32_t connections, requests_in_flight;
    uint64_t accepted, refused, requests, bytes_in, bytes_out, bad_requests, timeouts, slow;
    uint64_t handshakes, handshakes_failed;
    const struct http_route_stats *routes;
    unsigned route_count;
};
void http_stats(const struct http_server *s, struct http_stats *out);

#endif
