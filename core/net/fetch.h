/*
 * Outgoing HTTP by libcurl's multi interface on the loop. libcurl is loaded and set up at the first fetch, so that a
 * node that never fetches does not pay for it (measured: 1.2 MB of private and 6 MB of shared memory and 5 ms of
 * start, for 30 libraries). http and https only; redirects are not followed unless asked for; proxies and other
 * settings in the environment play no part. Names are resolved in libcurl's own threads, so they never stall the loop.
 */
#ifndef NET_FETCH_H
#define NET_FETCH_H

#include "base/buf.h"
#include "net/loop.h"

struct fetcher;
struct fetch;

struct fetch_options {
    const char *url, *method;        /* method NULL: GET, or POST with a body */
    slice body;                      /* copied */
    const char *const *headers;      /* "Name: value", NULL-terminated, or NULL; copied */
    uint32_t timeout_ms;             /* of the whole; 0 = FETCH_MS */
    size_t body_max;                 /* of the answer; 0 = FETCH_BODY_MAX */
    unsigned redirects;              /* at most this many; POST becomes GET as browsers do, other methods stay */
    const char *ca_file;             /* NULL: the system's */
    const char *cert_file, *key_file;   /* whom we are to the server; NULL: nobody */
    bool fresh;                      /* on a connection of its own: libcurl sends a request again by itself when a
                                      * kept connection ends before the answer, and this one must go out once */
    bool guest;                      /* for a client: the last FETCHES_RESERVED are for others */
};

struct fetch_result {
    int error;                       /* 0, or -ERR_FETCH, -ERR_TIMEOUT, -ERR_TOO_LARGE */
    const char *detail;              /* what went wrong, in curl's words; "" without an error */
    bool unsent;                     /* a fresh one failed before there was anybody to send it to (fetch_unsent) */
    int status;
    struct buf headers;              /* "name: value\n" lines of the last answer, names in lower case */
    struct buf body;
};

struct fetcher *fetcher_new(struct loop *l);
void fetcher_free(struct fetcher *f);   /* cancels all */

/* Starts one; `done` is called once from the loop and only records; the result is valid until it returns, except
 * that bufs may be moved out. -ERR_BAD_VALUE for a URL, method or header that cannot be used (then done is not
 * called); -ERR_BUSY past FETCHES_MAX, or past what guests may have of that. A missing libcurl is a result like any
 * other failure. */
int fetch_start(struct fetcher *f, const struct fetch_options *o, void (*done)(void *arg, struct fetch_result *r),
                void *arg, struct fetch **out);

size_t fetcher_busy(const struct fetcher *f);   /* how many are on their way */

/* Whether a fresh one has not been sent, not even in part: nobody has taken its connection yet. */
bool fetch_unsent(const struct fetch *f);

/* Ends it; `done` is not called any more. Never waits, not even for a resolver. */
void fetch_cancel(struct fetch *f);

#endif
