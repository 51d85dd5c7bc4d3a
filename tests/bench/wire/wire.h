/*
 * How one server is spoken to: what a request looks like, and where an answer ends. The load program is the same for
 * all of them, so that what is compared is the servers.
 *
 * A wire is a table of functions, found by the scheme of the URL. It keeps nothing: the state of an answer that is
 * not whole yet is in struct answer, which the load program zeroes before each request.
 */
#ifndef WIRE_WIRE_H
#define WIRE_WIRE_H

#include "base/buf.h"
#include "net/http_parse.h"

/* The request of a run, from the command line, the same for all connections. */
struct order {
    slice host;               /* with the port, as in the URL */
    slice path;               /* of the URL, from its slash on; a %d in it is the topic's number */
    const char *method;       /* as given, or NULL */
    slice headers;            /* lines, each with its CRLF */
    bool typed;               /* one of them is a Content-Type */
    unsigned lines;           /* messages in one request; 0: one, without a newline at its end */
    slice body;               /* all messages; with `lines` each has its newline */
};

struct answer {
    int status;               /* of HTTP; other protocols give 200 or 500 */
    unsigned replies;         /* still to come for this request */
    uint64_t left;            /* bytes to skip, of a body or a string */
    uint64_t elements;        /* redis: of nested lists, still to come */
    bool bodiless;            /* the request was a HEAD */
    bool in_body, chunked, to_end, closing;
    struct http_chunks chunks;
};

struct wire {
    const char *scheme;
    bool body_apart;          /* the body is not part of the request that make wrote, but sent behind it */
    bool reply_each;          /* one reply for each message of a request, not one for all */
    bool speaks_unasked;      /* the server may send something without a request; take then gets 0 replies */
    bool own_requests;        /* a request names its connection: topic numbers are those of connections */

    /* Adds the request for that topic to out. */
    void (*make)(struct buf *out, const struct order *o, unsigned topic);
    /* Sent before the first request, on a socket that still blocks; NULL: nothing. False: it failed. */
    bool (*greet)(int fd, const struct order *o, unsigned connection);
    /* Takes bytes from the front and counts them in *took. 1: the answer is whole; 0: not yet; -1: not valid. */
    int (*take)(struct answer *a, char *in, size_t n, size_t *took);
};

extern const struct wire wire_http, wire_redis, wire_beanstalk, wire_nats, wire_tarantool, wire_amqp;

/* The protocol of a URL, and what follows "://" in *rest; NULL: not known. */
const struct wire *wire_find(slice url, slice *rest);

/* The path with its %d replaced by the topic's number. */
void path_add(struct buf *out, slice path, unsigned topic);

/* The path without its slash: the name of a key, a subject, a queue. */
void name_add(struct buf *out, const struct order *o, unsigned topic);

/* Message number i of the order's body, without its newline. */
slice order_message(const struct order *o, unsigned i);

/* Prints the first refusal on stderr; the others are only counted. Returns the status for it. */
int refused(slice why);

/* For greet: send or read everything, or return false. read_until reads byte by byte, `end` included. */
bool send_all(int fd, slice s);
bool read_all(int fd, char *p, size_t n);
bool read_until(int fd, slice end);

#endif
