#include "net/fetch.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/mem.h"
#include "net/fetch_request.h"

struct fetcher {
    struct loop *loop;               /* outlives us */
    CURLM *multi;                    /* owned; NULL until the first fetch */
    struct watch timer;              /* libcurl's */
    struct watch failed_timer;
    struct list running;             /* fetches that libcurl runs */
    struct list failed;              /* fetches that libcurl refused; they end in the next iteration of the loop */
    unsigned count;                  /* of both */
    size_t bodies;                   /* bytes of all answers that have arrived so far */
};

/* A descriptor that libcurl asked to watch. */
struct sock {
    struct fetcher *fetcher;
    curl_socket_t fd;                /* libcurl's */
    struct watch readable, writable;
};

struct fetch {
    struct list link;                /* in `running` or `failed` */
    struct fetcher *fetcher;         /* outlives us */
    struct fetch_request request;
    void (*done)(void *arg, struct fetch_result *r);
    void *arg;
    size_t body_max, heads_size;
    size_t held;                     /* its part of fetcher.bodies */
    bool guest, crowded;             /* fetch_options.guest; there was no room for the rest of the body */
    const char *oversized;           /* the part of the answer that is too large, or NULL */
    bool fresh;
    struct networks to;              /* fetch_options.to, if it was given: `narrow` */
    bool narrow, dry;
    bool reached;                    /* a dry one: an address was allowed */
    char refused[INET6_ADDRSTRLEN];  /* the last address that was not; "": none */
    struct fetch_result result;
    char detail[CURL_ERROR_SIZE];
};

/* ---- the end of a fetch ---- */

bool fetch_unsent(const struct fetch *t)
{
    curl_off_t connected = 0;
    if (!t->fresh || !t->request.easy)
        return false;
    curl.easy_getinfo(t->request.easy, CURLINFO_CONNECT_TIME_T, &connected);
    return connected == 0;
}

static void fetch_free(struct fetch *t)
{
    if (t->request.easy) {
        curl.multi_remove_handle(t->fetcher->multi, t->request.easy);
        fetch_request_fini(&t->request);
    }
    list_remove(&t->link);
    t->fetcher->count--;
    t->fetcher->bodies -= t->held;
    buf_fini(&t->result.headers);
    buf_fini(&t->result.body);
    mem_free(t);
}

/* Headers are those of the last answer: not of redirects or 1xx before it, and no trailers. */
static void collect_answer(struct fetch *t)
{
    struct buf *out = &t->result.headers;
    struct curl_header *h = NULL;
    long status = 0;
    curl.easy_getinfo(t->request.easy, CURLINFO_RESPONSE_CODE, &status);
    t->result.status = (int)status;
    t->detail[0] = '\0';   /* libcurl also notes failures there from which it recovered */
    while ((h = curl.easy_nextheader(t->request.easy, CURLH_HEADER, -1, h))) {
        size_t n = strcspn(h->value, "\r");   /* libcurl 7.88 leaves it on an empty value */
        for (const char *c = h->name; *c; c++)
            buf_add_char(out, *c >= 'A' && *c <= 'Z' ? (char)(*c | 0x20) : *c);
        buf_addf(out, ": %.*s\n", (int)n, h->value);
    }
}

static void explain_failure(struct fetch *t, CURLcode code)
{
    t->result.error = code == CURLE_OPERATION_TIMEDOUT ? -ERR_TIMEOUT : -ERR_FETCH;
    t->result.unsent = fetch_unsent(t);
    if (t->crowded) {
        t->result.error = -ERR_BUSY;
        snprintf(t->detail, sizeof t->detail, "the answers of all requests together are over the limit of %d MiB",
                 FETCH_BODIES_MAX / MIB);
    } else if (t->reached) {
        t->result.error = 0;
        t->detail[0] = '\0';
    } else if (t->refused[0] != '\0') {
        t->result.error = -ERR_FORBIDDEN;
        snprintf(t->detail, sizeof t->detail, "%s is not in a network that may be reached", t->refused);
    } else if (t->oversized) {
        t->result.error = -ERR_TOO_LARGE;
        snprintf(t->detail, sizeof t->detail, "the %s of the answer is larger than the limit", t->oversized);
    } else if (t->detail[0] == '\0') {
        snprintf(t->detail, sizeof t->detail, "%s", curl.easy_strerror(code));
    }
}

static void fetch_finish(struct fetch *t)
{
    t->done(t->arg, &t->result);
    fetch_free(t);
}

static void finish_ended(struct fetcher *f)
{
    int left;
    for (CURLMsg *m; (m = curl.multi_info_read(f->multi, &left));) {
        struct fetch *t;
        CURLcode code = m->data.result;
        curl.easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&t);
        if (code == CURLE_OK)
            collect_answer(t);
        else
            explain_failure(t, code);
        fetch_finish(t);
    }
}

static void on_failed(void *arg)
{
    struct fetcher *f = arg;
    while (!list_empty(&f->failed))
        fetch_finish(list_first(&f->failed, struct fetch, link));
}

static void fail_later(struct fetch *t, const char *why)
{
    struct fetcher *f = t->fetcher;
    t->result.error = -ERR_FETCH;
    snprintf(t->detail, sizeof t->detail, "%s", why);
    list_push(&f->failed, &t->link);
    watch_arm(&f->failed_timer, 0);
}

/* ---- libcurl on the loop ---- */

/* libcurl starts a thread for each name that it resolves. Threads inherit the signal mask, and all signals are
 * blocked for them: a handler that expects to interrupt Lua must not run on another thread. */
static void drive(struct fetcher *f, curl_socket_t fd)
{
    int running;
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    curl.multi_socket_action(f->multi, fd, 0, &running);
    sigprocmask(SIG_SETMASK, &before, NULL);
    finish_ended(f);
}

static void on_socket(void *arg)
{
    struct sock *s = arg;   /* drive may free it */
    drive(s->fetcher, s->fd);
}

static void on_timer(void *arg)
{
    drive(arg, CURL_SOCKET_TIMEOUT);
}

static int watch_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *assigned)
{
    struct fetcher *f = arg;
    struct sock *s = assigned;
    (void)easy;
    if (!s) {
        s = MEM_NEW(struct sock);
        s->fetcher = f;
        s->fd = fd;
        curl.multi_assign(f->multi, fd, s);
    }
    watch_fini(&s->readable);
    watch_fini(&s->writable);
    if (what == CURL_POLL_REMOVE) {
        mem_free(s);
        return 0;
    }
    if (what & CURL_POLL_IN)
        watch_readable(f->loop, &s->readable, fd, on_socket, s);
    if (what & CURL_POLL_OUT)
        watch_writable(f->loop, &s->writable, fd, on_socket, s);
    return 0;
}

static int set_timer(CURLM *multi, long timeout_ms, void *arg)
{
    struct fetcher *f = arg;
    (void)multi;
    if (timeout_ms < 0)
        watch_disarm(&f->timer);
    else
        watch_arm(&f->timer, (uint64_t)timeout_ms * NS_PER_MS);
    return 0;
}

/* NULL, or why libcurl cannot be used. */
static const char *multi_up(struct fetcher *f)
{
    const char *why = libcurl_load();
    if (why || f->multi)
        return why;
    f->multi = curl.multi_init();
    if (!f->multi)
        return LIBCURL " cannot be initialised";
    curl.multi_setopt(f->multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
    curl.multi_setopt(f->multi, CURLMOPT_SOCKETDATA, f);
    curl.multi_setopt(f->multi, CURLMOPT_TIMERFUNCTION, set_timer);
    curl.multi_setopt(f->multi, CURLMOPT_TIMERDATA, f);
    curl.multi_setopt(f->multi, CURLMOPT_MAXCONNECTS, (long)FETCH_IDLE_MAX);
    return NULL;
}

/* ---- the answer ---- */

/* Returning less than what was offered ends the transfer. */
static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
    struct fetch *t = arg;
    n *= size;
    if (n > t->body_max - buf_size(&t->result.body)) {
        t->oversized = "body";
        return 0;
    }
    if (t->guest && t->fetcher->bodies + n > FETCH_BODIES_MAX) {
        t->crowded = true;
        return 0;
    }
    t->fetcher->bodies += n;
    t->held += n;
    buf_add(&t->result.body, data, n);
    return n;
}

/* libcurl keeps the headers; here they are only counted. */
static size_t on_head(char *data, size_t size, size_t n, void *arg)
{
    struct fetch *t = arg;
    (void)data;
    n *= size;
    t->heads_size += n;
    if (t->heads_size > FETCH_HEADERS_MAX) {
        t->oversized = "head";
        return 0;
    }
    return n;
}

/* ---- the start ---- */

/* Called for each address of the name, before a connection to it. CURL_SOCKET_BAD: there shall be none. */
static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *a)
{
    struct fetch *t = arg;
    (void)purpose;
    const void *ip = a->family == AF_INET6 ? (const void *)&((struct sockaddr_in6 *)(void *)&a->addr)->sin6_addr
                                           : (const void *)&((struct sockaddr_in *)(void *)&a->addr)->sin_addr;
    if (!networks_have(&t->to, &a->addr)) {
        if (inet_ntop(a->family, ip, t->refused, sizeof t->refused) == NULL)
            snprintf(t->refused, sizeof t->refused, "the address");
        return CURL_SOCKET_BAD;
    }
    t->reached = t->dry;
    return t->dry ? CURL_SOCKET_BAD : socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

static void set_receivers(struct fetch *t)
{
    fetch_option(&t->request, CURLOPT_PRIVATE, t);
    fetch_option(&t->request, CURLOPT_ERRORBUFFER, t->detail);
    fetch_option(&t->request, CURLOPT_WRITEDATA, t);
    fetch_option(&t->request, CURLOPT_HEADERDATA, t);
    curl.easy_setopt(t->request.easy, CURLOPT_WRITEFUNCTION, on_body);
    curl.easy_setopt(t->request.easy, CURLOPT_HEADERFUNCTION, on_head);
    if (t->narrow) {
        fetch_option(&t->request, CURLOPT_OPENSOCKETDATA, t);
        curl.easy_setopt(t->request.easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    }
}

static void begin(struct fetch *t, const struct fetch_options *o)
{
    struct fetcher *f = t->fetcher;
    fetch_request_set(&t->request, o);
    set_receivers(t);
    if (t->request.rc != CURLE_OK) {
        fail_later(t, curl.easy_strerror(t->request.rc));
        return;
    }
    list_push(&f->running, &t->link);
    CURLMcode rc = curl.multi_add_handle(f->multi, t->request.easy);
    if (rc != CURLM_OK) {
        list_remove(&t->link);
        fail_later(t, curl.multi_strerror(rc));
    }
}

int fetch_start(struct fetcher *f, const struct fetch_options *o, void (*done)(void *arg, struct fetch_result *r),
                void *arg, struct fetch **out)
{
    const char *why = multi_up(f);
    if (!fetch_request_ok(o))
        return -ERR_BAD_VALUE;
    if (f->count >= (unsigned)(o->guest ? FETCHES_MAX - FETCHES_RESERVED : FETCHES_MAX))
        return -ERR_BUSY;
    struct fetch *t = MEM_NEW(struct fetch);
    t->fetcher = f;
    t->body_max = o->body_max ? o->body_max : FETCH_BODY_MAX;
    t->result.detail = t->detail;
    t->narrow = o->to != NULL;
    if (t->narrow)
        t->to = *o->to;
    t->dry = o->dry;
    t->fresh = o->fresh || t->narrow;
    t->guest = o->guest;
    f->count++;
    t->done = done;
    t->arg = arg;
    if (why)
        fail_later(t, why);
    else
        begin(t, o);
    *out = t;
    return 0;
}

size_t fetcher_busy(const struct fetcher *f)
{
    return f->count;
}

void fetch_cancel(struct fetch *f)
{
    fetch_free(f);
}

struct fetcher *fetcher_new(struct loop *l)
{
    struct fetcher *f = MEM_NEW(struct fetcher);
    f->loop = l;
    list_init(&f->running);
    list_init(&f->failed);
    watch_timer(l, &f->timer, on_timer, f);
    watch_timer(l, &f->failed_timer, on_failed, f);
    return f;
}

void fetcher_free(struct fetcher *f)
{
    LIST_EACH(node, &f->running)
        fetch_free(LIST_OWNER(node, struct fetch, link));
    LIST_EACH(node, &f->failed)
        fetch_free(LIST_OWNER(node, struct fetch, link));
    if (f->multi)
        curl.multi_cleanup(f->multi);
    watch_fini(&f->timer);
    watch_fini(&f->failed_timer);
    mem_free(f);
}
