/*
 * Outgoing HTTP by libcurl's multi interface on the loop. libcurl is loaded at the first fetch, so that a node that
 * never fetches does not pay for it (measured: 1.2 MB of private and 6 MB of shared memory and 5 ms of start, for 30
 * libraries). Only http and https; redirects are followed only on demand; proxies and other settings of the
 * environment are ignored. libcurl resolves names in threads of its own, so the loop never waits for them.
 *
 * A fetch is running from fetch_start until `done` has returned or fetch_cancel is called. If libcurl cannot run it, it
 * fails in the next iteration of the loop, so that `done` is never called from inside fetch_start.
 */
#ifndef NET_FETCH_H
#define NET_FETCH_H

#include "base/buf.h"
#include "net/fetch_options.h"
#include "net/loop.h"

struct fetcher;
struct fetch;

struct fetch_result {
    int error;                       /* 0, or -ERR_FETCH, -ERR_TIMEOUT, -ERR_TOO_LARGE */
    const char *detail;              /* libcurl's message; "" without an error */
    bool unsent;                     /* a fresh one failed before it was sent (fetch_unsent) */
    int status;
    struct buf headers;              /* "name: value\n" lines of the last answer, names in lower case */
    struct buf body;
};

struct fetcher *fetcher_new(struct loop *l);
void fetcher_free(struct fetcher *f);   /* cancels all */

/* Starts one. `done` is called once from the loop and only records; the result is valid until it returns, but its
 * buffers may be moved out. 0; -ERR_BAD_VALUE for a URL, method or header that cannot be used; -ERR_BUSY above
 * FETCHES_MAX, or above what guests may use of that. Other failures are results, a missing libcurl, too. */
int fetch_start(struct fetcher *f, const struct fetch_options *o, void (*done)(void *arg, struct fetch_result *r),
                void *arg, struct fetch **out);

size_t fetcher_busy(const struct fetcher *f);   /* the number of running fetches */

/* True when nothing of a fresh one has been sent, because its connection is not established. */
bool fetch_unsent(const struct fetch *f);

/* Ends it; `done` is not called. Does not wait, not even for a resolver. */
void fetch_cancel(struct fetch *f);

#endif
