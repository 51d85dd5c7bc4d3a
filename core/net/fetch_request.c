#include "net/fetch_request.h"

#include "base/ensure.h"
#include "base/limits.h"
#include "net/http.h"

static bool is_web_url(const char *text)
{
    CURLU *url = curl.url();
    char *scheme = NULL;
    bool is_web = url && curl.url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK &&
                  curl.url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
                  (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0);
    curl.free(scheme);
    curl.url_cleanup(url);
    return is_web;
}

static bool split_header(const char *line, slice *name, slice *value)
{
    slice rest = slice_from(line);
    if (!strchr(line, ':') || !slice_split(&rest, ':', name))
        return false;
    *value = slice_trim(rest);
    return http_header_ok(*name, *value);
}

static bool has_header(const struct fetch_options *o, slice wanted)
{
    slice name, value;
    for (const char *const *h = o->headers; h && *h; h++)
        if (split_header(*h, &name, &value) && slice_ieq(name, wanted))
            return true;
    return false;
}

bool fetch_request_ok(const struct fetch_options *o)
{
    slice name, value;
    if (o->method && !http_header_ok(slice_from(o->method), SLICE("")))
        return false;
    for (const char *const *h = o->headers; h && *h; h++)
        if (!split_header(*h, &name, &value))
            return false;
    return !curl.loaded || is_web_url(o->url);
}

void fetch_option(struct fetch_request *r, CURLoption option, const void *value)
{
    if (r->rc == CURLE_OK)
        r->rc = curl.easy_setopt(r->easy, option, value);
}

static void set_number(struct fetch_request *r, CURLoption option, long value)
{
    if (r->rc == CURLE_OK)
        r->rc = curl.easy_setopt(r->easy, option, value);
}

static void set_policy(struct fetch_request *r, const struct fetch_options *o)
{
    fetch_option(r, CURLOPT_PROTOCOLS_STR, "http,https");
    fetch_option(r, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    fetch_option(r, CURLOPT_PROXY, "");
    fetch_option(r, CURLOPT_CAINFO, o->ca_file);
    if (o->ca_file != NULL)
        set_number(r, CURLOPT_CA_CACHE_TIMEOUT, 0);   /* a new CA in the file takes effect with the next connection */
    fetch_option(r, CURLOPT_SSLCERT, o->cert_file);
    fetch_option(r, CURLOPT_SSLKEY, o->key_file);
    bool fresh = o->fresh || o->to != NULL;   /* a kept connection was not judged by `to` */
    set_number(r, CURLOPT_FRESH_CONNECT, fresh);
    set_number(r, CURLOPT_FORBID_REUSE, fresh);
    set_number(r, CURLOPT_FOLLOWLOCATION, o->redirects > 0 && o->to == NULL);
    set_number(r, CURLOPT_MAXREDIRS, (long)o->redirects);
    set_number(r, CURLOPT_TIMEOUT_MS, o->timeout_ms ? (long)o->timeout_ms : FETCH_MS);
    set_number(r, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    set_number(r, CURLOPT_PATH_AS_IS, 1);
    set_number(r, CURLOPT_NOSIGNAL, 1);
    set_number(r, CURLOPT_QUICK_EXIT, 1);   /* so that ending a fetch does not wait for its resolver */
}

static void add_header(struct fetch_request *r, const char *line)
{
    struct curl_slist *longer = curl.slist_append(r->headers, line);
    ENSURE(longer);
    r->headers = longer;
}

/* For libcurl, "Name:" removes a header, and "Name;" adds one without a value. */
static void set_headers(struct fetch_request *r, const struct fetch_options *o)
{
    slice name, value;
    struct buf line = {0};
    if (!has_header(o, SLICE("content-type")))
        add_header(r, "Content-Type:");
    if (!has_header(o, SLICE("expect")))
        add_header(r, "Expect:");
    for (const char *const *h = o->headers; h && *h; h++) {
        split_header(*h, &name, &value);
        buf_clear(&line);
        buf_addf(&line, value.n > 0 ? "%.*s: %.*s" : "%.*s;%.*s", SLICE_ARGS(name), SLICE_ARGS(value));
        add_header(r, line.data);
    }
    buf_fini(&line);
    fetch_option(r, CURLOPT_HTTPHEADER, r->headers);
    fetch_option(r, CURLOPT_USERAGENT, "lignum");
}

static void set_request(struct fetch_request *r, const struct fetch_options *o)
{
    const char *method = o->method ? o->method : o->body.n > 0 ? "POST" : "GET";
    bool sends = o->body.n > 0 || strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0 ||
                 strcmp(method, "PATCH") == 0;
    const char *implied = sends ? "POST" : "GET";
    fetch_option(r, CURLOPT_URL, o->url);
    if (strcmp(method, "HEAD") == 0) {
        set_number(r, CURLOPT_NOBODY, 1);
        return;
    }
    if (sends) {
        curl.easy_setopt(r->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)o->body.n);
        fetch_option(r, CURLOPT_COPYPOSTFIELDS, o->body.n > 0 ? o->body.p : "");
    }
    if (strcmp(method, implied) != 0)
        fetch_option(r, CURLOPT_CUSTOMREQUEST, method);
}

void fetch_request_set(struct fetch_request *r, const struct fetch_options *o)
{
    r->easy = curl.easy_init();
    ENSURE(r->easy);
    set_policy(r, o);
    set_headers(r, o);
    set_request(r, o);
}

void fetch_request_fini(struct fetch_request *r)
{
    curl.easy_cleanup(r->easy);
    curl.slist_free_all(r->headers);
}
