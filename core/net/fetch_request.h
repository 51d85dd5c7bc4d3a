/*
 * The request of a fetch: checks fetch_options, and makes an easy handle of libcurl with the options that they mean.
 */
#ifndef NET_FETCH_REQUEST_H
#define NET_FETCH_REQUEST_H

#include "net/fetch_options.h"
#include "net/libcurl.h"

struct fetch_request {
    CURL *easy;                      /* owned; NULL: libcurl cannot be used */
    struct curl_slist *headers;      /* owned */
    CURLcode rc;                     /* error of the first option that libcurl refused */
};

/* Whether URL, method and headers can be used. Without libcurl, any URL can. */
bool fetch_request_ok(const struct fetch_options *o);

/* Makes the handle. An option that this libcurl does not know is in `rc`; the fetch must then fail, as it would run
 * with the wrong behaviour. */
void fetch_request_set(struct fetch_request *r, const struct fetch_options *o);

/* Sets one more option. */
void fetch_option(struct fetch_request *r, CURLoption option, const void *value);

/* Call after fetch_request_set only. */
void fetch_request_fini(struct fetch_request *r);

#endif
