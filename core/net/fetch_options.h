/*
 * What a fetch sends, and how.
 */
#ifndef NET_FETCH_OPTIONS_H
#define NET_FETCH_OPTIONS_H

#include "base/slice.h"
#include "net/networks.h"

struct fetch_options {
    const char *url, *method;        /* method NULL: GET, or POST with a body */
    slice body;                      /* copied */
    const char *const *headers;      /* "Name: value", NULL-terminated, or NULL; copied */
    uint32_t timeout_ms;             /* from start to end; 0: FETCH_MS */
    size_t body_max;                 /* of the answer; 0: FETCH_BODY_MAX */
    unsigned redirects;              /* at most this many; POST becomes GET, as in browsers, other methods stay */
    const char *ca_file;             /* NULL: the system's */
    const char *cert_file, *key_file;   /* to identify this client; NULL: none */
    bool fresh;                      /* on a new connection: libcurl repeats a request when a kept connection ends
                                      * before the answer, and this one must be sent at most once */
    const struct networks *to;       /* connects only to addresses in these, judged after the name is resolved; copied.
                                      * Such a request is fresh, and follows no redirects. NULL: anywhere */
    bool dry;                        /* with `to`: ends where it would connect; the result has no error and status 0 */
    bool guest;                      /* on behalf of a client: may not use the last FETCHES_RESERVED */
};

#endif
