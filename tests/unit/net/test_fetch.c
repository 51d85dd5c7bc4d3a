#include "net/fetch.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "unit/unit.h"

/* ---- replacements of libc functions, which can fail: libcurl is loaded later and calls them ---- */

static bool library_is_missing;
static int slow_names = -1;          /* names that begin with "slow." are resolved once this descriptor has a byte */
static int resolver_told = -1;       /* gets a byte when that begins: 1 if SIGUSR1 is blocked there */

static const char *moves_to;         /* the address of moving.test */

void *dlopen(const char *file, int mode)
{
    static void *(*real)(const char *file, int mode);
    if (!real)
        real = (void *(*)(const char *, int))dlsym(RTLD_NEXT, "dlopen");
    return real(library_is_missing ? "libmissing.so" : file, mode);
}

static void wait_slowly(void)
{
    sigset_t mask;
    char byte;
    sigprocmask(SIG_BLOCK, NULL, &mask);
    byte = (char)sigismember(&mask, SIGUSR1);
    CHECK_EQ(write(resolver_told, &byte, 1), 1);
    CHECK(read(slow_names, &byte, 1) >= 0);
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **res)
{
    static int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    if (!real)
        real = (int (*)(const char *, const char *, const struct addrinfo *, struct addrinfo **))
            dlsym(RTLD_NEXT, "getaddrinfo");
    if (node && strncmp(node, "slow.", 5) == 0)
        wait_slowly();
    if (node && strcmp(node, "moving.test") == 0)      /* a name whose owner changes its address */
        node = moves_to;
    return real(node, service, hints, res);
}

/* ---- a server with prepared answers, in a process of its own ---- */

struct site {
    char url[64];                    /* http://127.0.0.1:PORT/path */
    int log;                         /* the requests; a new connection begins with "[" */
};

static int listen_anywhere(struct site *s)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_EQ(bind(fd, (struct sockaddr *)&a, n), 0);
    CHECK_EQ(listen(fd, 512), 0);
    CHECK_EQ(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    snprintf(s->url, sizeof s->url, "http://127.0.0.1:%d/path", ntohs(a.sin_port));
    return fd;
}

/* False at the end of the connection. */
static bool read_request(int fd, struct buf *in)
{
    buf_clear(in);
    for (;;) {
        ssize_t n = read(fd, buf_reserve(in, 4096), 4096);
        if (n <= 0)
            return false;
        in->end += (size_t)n;
        *buf_reserve(in, 1) = '\0';
        char *body = strstr(in->data, "\r\n\r\n"), *length = strstr(in->data, "Content-Length: ");
        size_t want = length ? strtoul(length + 16, NULL, 10) : 0;
        if (body && buf_size(in) >= (size_t)(body + 4 - in->data) + want)
            return true;
    }
}

/* Bodies are shortened, because the log is read only at the end. */
static size_t logged_size(const struct buf *request)
{
    return buf_size(request) < 2048 ? buf_size(request) : 2048;
}

/* An empty answer means none: the server waits for the end of the connection and logs it as "]". */
static _Noreturn void serve(int listener, int log, const char *const *answers)
{
    struct buf request = {0};
    for (int fd = -1; *answers; answers++) {
        if (fd < 0) {
            fd = accept(listener, NULL, NULL);
            CHECK_EQ(write(log, "[", 1), 1);
        }
        if (!read_request(fd, &request))
            break;
        CHECK(write(log, request.data, logged_size(&request)) > 0);
        CHECK(send(fd, *answers, strlen(*answers), MSG_NOSIGNAL) >= 0);
        if (**answers == '\0' || strstr(*answers, "hang")) {
            read_request(fd, &request);
            CHECK_EQ(write(log, "]", 1), 1);
        }
        if (strstr(*answers, "Connection: close")) {
            close(fd);
            fd = -1;
        }
    }
    _exit(0);
}

static struct site site_new(const char *const *answers)
{
    struct site s;
    int fds[2], listener = listen_anywhere(&s);
    CHECK_EQ(pipe(fds), 0);
    if (unit_fork() == 0)
        serve(listener, fds[1], answers);
    close(listener);
    close(fds[1]);
    s.log = fds[0];
    return s;
}

/* All requests; the server must have ended. */
static const char *site_log(struct site *s)
{
    static char text[64 * KIB];
    size_t have = 0;
    for (ssize_t n; (n = read(s->log, text + have, sizeof text - 1 - have)) > 0;)
        have += (size_t)n;
    text[have] = '\0';
    return text;
}

/* ---- one fetch after the other ---- */

struct client {
    struct loop loop;
    struct fetcher *fetcher;
    unsigned done;
    int error, status;
    char detail[512];
    struct buf headers, body;
    struct watch event;
    unsigned events;
};

static struct client *client_new(void)
{
    struct client *c = MEM_NEW(struct client);
    CHECK_EQ(loop_init(&c->loop), 0);
    c->fetcher = fetcher_new(&c->loop);
    return c;
}

static void client_free(struct client *c)
{
    fetcher_free(c->fetcher);
    watch_fini(&c->event);
    loop_fini(&c->loop);
    buf_fini(&c->headers);
    buf_fini(&c->body);
    mem_free(c);
}

static void note_result(void *arg, struct fetch_result *r)
{
    struct client *c = arg;
    c->done++;
    c->error = r->error;
    c->status = r->status;
    snprintf(c->detail, sizeof c->detail, "%s", r->detail);
    buf_fini(&c->headers);
    buf_fini(&c->body);
    buf_move(&c->headers, &r->headers);
    buf_move(&c->body, &r->body);
}

static void stop_when_done(void *arg)
{
    struct client *c = arg;
    if (c->done > 0 || c->events > 0)
        loop_stop(&c->loop);
}

static void run(struct client *c, const struct fetch_options *o)
{
    struct fetch *t;
    c->done = 0;
    CHECK_EQ(fetch_start(c->fetcher, o, note_result, c, &t), 0);
    CHECK_EQ(c->done, 0);
    loop_run(&c->loop, stop_when_done, c);
    CHECK_EQ(c->done, 1);
}

static void note_event(void *arg)
{
    struct client *c = arg;
    c->events++;
    watch_fini(&c->event);
}

/* Runs the loop until the descriptor has something to read. */
static void run_until_readable(struct client *c, int fd)
{
    c->events = 0;
    watch_readable(&c->loop, &c->event, fd, note_event, c);
    loop_run(&c->loop, stop_when_done, c);
}

#define ANSWERS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define CLOSE "Connection: close\r\n"

TEST(test_an_answer_has_status_headers_in_lower_case_and_body)
{
    struct client *c = client_new();
    struct site s = site_new(ANSWERS("HTTP/1.1 103 Early\r\nX-Early: 1\r\n\r\n"
                                     "HTTP/1.1 201 Made\r\nX-Some-Name:  A b \r\nEmpty:\r\n"
                                     "Transfer-Encoding: chunked\r\n\r\n"
                                     "3\r\nabc\r\n2\r\nde\r\n0\r\nX-Trailer: 1\r\n\r\n"));
    run(c, &(struct fetch_options){.url = s.url});
    CHECK_EQ(c->error, 0);
    CHECK_EQ(c->status, 201);
    CHECK_SLICE(slice_from(c->detail), SLICE(""));
    CHECK_SLICE(buf_slice(&c->headers), SLICE("x-some-name: A b\nempty: \ntransfer-encoding: chunked\n"));
    CHECK_SLICE(buf_slice(&c->body), SLICE("abcde"));
    const char *log = site_log(&s);
    CHECK(strstr(log, "[GET /path HTTP/1.1\r\n"));
    CHECK(strstr(log, "User-Agent: lignum\r\n"));
    client_free(c);
}

TEST(test_a_body_is_posted_as_it_is_with_no_header_invented)
{
    struct client *c = client_new();
    struct site s = site_new(ANSWERS("HTTP/1.1 200 OK\r\n" CLOSE "\r\n"));
    static char body[2 * MIB];       /* so large that libcurl would send Expect first */
    memset(body, 'x', sizeof body);
    run(c, &(struct fetch_options){.url = s.url, .body = slice_of(body, sizeof body)});
    CHECK_EQ(c->status, 200);
    const char *log = site_log(&s);
    CHECK(strstr(log, "POST /path HTTP/1.1\r\n"));
    CHECK(strstr(log, "Content-Length: 2097152\r\n"));
    CHECK(!strstr(log, "Content-Type"));
    CHECK(!strstr(log, "Expect"));
    CHECK(strstr(log, "\r\n\r\nxxx"));
    client_free(c);
}

TEST(test_any_method_and_header_is_sent_as_asked)
{
    struct client *c = client_new();
    struct site s = site_new(ANSWERS("HTTP/1.1 200 OK\r\n" CLOSE "\r\n", "HTTP/1.1 200 OK\r\n" CLOSE "\r\n",
                                     "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n" CLOSE "\r\n"));
    const char *const headers[] = {"Content-Type: text/x", "X-Empty:", "X-Two:  a  b ", NULL};
    run(c, &(struct fetch_options){.url = s.url, .method = "PUT", .body = SLICE("a\0b"), .headers = headers});
    run(c, &(struct fetch_options){.url = s.url, .method = "DELETE"});
    run(c, &(struct fetch_options){.url = s.url, .method = "HEAD"});
    CHECK_EQ(c->error, 0);
    static char log[8192];
    snprintf(log, sizeof log, "%s", site_log(&s));
    CHECK(strstr(log, "[PUT /path"));
    CHECK(strstr(log, "\r\nContent-Type: text/x\r\nX-Empty:\r\nX-Two: a  b\r\nContent-Length: 3\r\n\r\na"));
    client_free(c);
}

TEST(test_a_redirect_is_an_answer_unless_following_was_asked_for)
{
    struct client *c = client_new();
    struct site s = site_new(ANSWERS("HTTP/1.1 302 Found\r\nLocation: /other\r\n" CLOSE "\r\n"));
    run(c, &(struct fetch_options){.url = s.url});
    CHECK_EQ(c->error, 0);
    CHECK_EQ(c->status, 302);
    CHECK(strstr(site_log(&s), "GET /path"));
    client_free(c);
}

TEST(test_redirects_are_followed_as_far_as_asked)
{
    static const char hop[] = "HTTP/1.1 302 Found\r\nLocation: /other\r\nX-Hop: 1\r\n" CLOSE "\r\n";
    struct client *c = client_new();
    struct site s = site_new(ANSWERS(hop, hop, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" CLOSE "\r\nok"));
    run(c, &(struct fetch_options){.url = s.url, .redirects = 2});
    CHECK_EQ(c->status, 200);
    CHECK_SLICE(buf_slice(&c->body), SLICE("ok"));
    CHECK_SLICE(buf_slice(&c->headers), SLICE("content-length: 2\nconnection: close\n"));
    s = site_new(ANSWERS(hop, hop));
    run(c, &(struct fetch_options){.url = s.url, .redirects = 1});
    CHECK_EQ(c->error, -ERR_FETCH);
    CHECK_SLICE(slice_from(c->detail), SLICE("Maximum (1) redirects followed"));
    client_free(c);
}

TEST(test_a_redirect_to_another_scheme_is_refused)
{
    struct client *c = client_new();
    struct site s = site_new(ANSWERS("HTTP/1.1 302 Found\r\nLocation: ftp://127.0.0.1:1/\r\n" CLOSE "\r\n"));
    run(c, &(struct fetch_options){.url = s.url, .redirects = 5});
    CHECK_EQ(c->error, -ERR_FETCH);
    CHECK(strstr(c->detail, "Protocol \"ftp\" not supported or disabled"));
    client_free(c);
}

TEST(test_a_body_above_the_cap_ends_the_fetch)
{
    static const char five[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n" CLOSE "\r\nabcde";
    struct client *c = client_new();
    struct site s = site_new(ANSWERS(five, five));
    run(c, &(struct fetch_options){.url = s.url, .body_max = 5});
    CHECK_EQ(c->error, 0);
    run(c, &(struct fetch_options){.url = s.url, .body_max = 4});
    CHECK_EQ(c->error, -ERR_TOO_LARGE);
    CHECK(strstr(c->detail, "body"));
    client_free(c);
}

TEST(test_a_head_above_the_cap_ends_the_fetch)
{
    static char answer[FETCH_HEADERS_MAX + 2048];
    size_t n = (size_t)snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\n" CLOSE);
    while (n < FETCH_HEADERS_MAX)
        n += (size_t)snprintf(answer + n, sizeof answer - n, "X-Filler: %0900d\r\n", 1);
    snprintf(answer + n, sizeof answer - n, "\r\n");
    struct client *c = client_new();
    struct site s = site_new(ANSWERS(answer));
    run(c, &(struct fetch_options){.url = s.url});
    CHECK_EQ(c->error, -ERR_TOO_LARGE);
    CHECK(strstr(c->detail, "head"));
    client_free(c);
}

TEST(test_the_timeout_is_of_the_whole_answer)
{
    struct client *c = client_new();
    struct site s = site_new(ANSWERS("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhang"));
    uint64_t began = clock_ns();
    run(c, &(struct fetch_options){.url = s.url, .timeout_ms = 100});
    CHECK_EQ(c->error, -ERR_TIMEOUT);
    CHECK(strstr(c->detail, "timed out after"));
    CHECK(clock_ns() - began >= 99 * NS_PER_MS);
    CHECK(strstr(site_log(&s), "]"));     /* and the connection was closed */
    client_free(c);
}

TEST(test_what_cannot_be_asked_for_is_refused_at_once)
{
    static const char *const urls[] = {"", "example.org", "ftp://127.0.0.1/", "file:///etc/passwd", "http://",
                                       "http://127.0.0.1:99999/", "http://127.0.0.1/a b", "http://127.0.0.1/\r\nX: y"};
    static const char *const lines[] = {"no colon", "X: a\r\nY: b", ": empty", "X Y: z", "X: \1"};
    struct client *c = client_new();
    struct fetch *t;
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++)
        CHECK_EQ(fetch_start(c->fetcher, &(struct fetch_options){.url = urls[i]}, note_result, c, &t), -ERR_BAD_VALUE);
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        const char *const headers[] = {lines[i], NULL};
        struct fetch_options o = {.url = "http://127.0.0.1/", .headers = headers};
        CHECK_EQ(fetch_start(c->fetcher, &o, note_result, c, &t), -ERR_BAD_VALUE);
    }
    struct fetch_options o = {.url = "http://127.0.0.1/", .method = "GET / HTTP/1.1\r\nX:"};
    CHECK_EQ(fetch_start(c->fetcher, &o, note_result, c, &t), -ERR_BAD_VALUE);
    CHECK_EQ(c->done, 0);
    client_free(c);
}

TEST(test_a_failure_has_curls_sentence)
{
    struct site s;
    struct client *c = client_new();
    close(listen_anywhere(&s));
    run(c, &(struct fetch_options){.url = s.url});
    CHECK_EQ(c->error, -ERR_FETCH);
    CHECK(strstr(c->detail, "Failed to connect to 127.0.0.1 port"));
    s = site_new(ANSWERS("nonsense\r\n\r\n" CLOSE));
    run(c, &(struct fetch_options){.url = s.url});
    CHECK_EQ(c->error, -ERR_FETCH);
    CHECK(c->detail[0] != '\0');
    client_free(c);
}

TEST(test_a_connection_is_used_again)
{
    static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    struct client *c = client_new();
    struct site s = site_new(ANSWERS(ok, ok, ok));
    for (int i = 0; i < 3; i++) {
        run(c, &(struct fetch_options){.url = s.url});
        CHECK_EQ(c->status, 200);
    }
    const char *log = site_log(&s);
    CHECK(log[0] == '[');
    CHECK(!strchr(log + 1, '['));
    client_free(c);
}

TEST(test_a_cancelled_fetch_closes_its_connection_and_is_not_heard_of)
{
    struct client *c = client_new();
    struct site s = site_new(ANSWERS(""));
    struct fetch *t;
    CHECK_EQ(fetch_start(c->fetcher, &(struct fetch_options){.url = s.url}, note_result, c, &t), 0);
    run_until_readable(c, s.log);
    fetch_cancel(t);
    CHECK(strstr(site_log(&s), "]"));
    CHECK_EQ(c->done, 0);
    client_free(c);
}

TEST(test_one_fetch_too_many_is_busy)
{
    struct site s;
    struct client *c = client_new();
    struct fetch *t;
    int listener = listen_anywhere(&s);
    struct fetch_options o = {.url = s.url};
    for (int i = 0; i < FETCHES_MAX; i++)
        CHECK_EQ(fetch_start(c->fetcher, &o, note_result, c, &t), 0);
    CHECK_EQ(fetch_start(c->fetcher, &o, note_result, c, &t), -ERR_BUSY);
    struct fetch *last = t;
    fetch_cancel(last);
    CHECK_EQ(fetch_start(c->fetcher, &o, note_result, c, &t), 0);
    CHECK_EQ(c->done, 0);
    client_free(c);
    close(listener);
}

TEST(test_fetches_for_clients_leave_some_to_the_broker)
{
    struct site s;
    struct client *c = client_new();
    struct fetch *t;
    int listener = listen_anywhere(&s);
    struct fetch_options own = {.url = s.url}, guest = {.url = s.url, .guest = true};
    for (int i = 0; i < FETCHES_MAX - FETCHES_RESERVED; i++)
        CHECK_EQ(fetch_start(c->fetcher, &guest, note_result, c, &t), 0);
    CHECK_EQ(fetch_start(c->fetcher, &guest, note_result, c, &t), -ERR_BUSY);
    for (int i = 0; i < FETCHES_RESERVED; i++)
        CHECK_EQ(fetch_start(c->fetcher, &own, note_result, c, &t), 0);
    CHECK_EQ(fetch_start(c->fetcher, &own, note_result, c, &t), -ERR_BUSY);
    client_free(c);
    close(listener);
}

TEST(test_a_proxy_in_the_environment_is_not_asked)
{
    struct client *c = client_new();
    struct site s = site_new(ANSWERS("HTTP/1.1 200 OK\r\n" CLOSE "\r\n"));
    setenv("http_proxy", "http://127.0.0.1:1/", 1);
    setenv("ALL_PROXY", "http://127.0.0.1:1/", 1);
    run(c, &(struct fetch_options){.url = s.url});
    CHECK_EQ(c->status, 200);
    client_free(c);
}

TEST(test_cancelling_does_not_wait_for_a_slow_resolver)
{
    int fds[2], told[2];
    char masked;
    struct fetch *t;
    struct client *c = client_new();
    CHECK_EQ(pipe(fds), 0);
    CHECK_EQ(pipe(told), 0);
    slow_names = fds[0];
    resolver_told = told[1];
    struct fetch_options o = {.url = "http://slow.invalid/"};
    CHECK_EQ(fetch_start(c->fetcher, &o, note_result, c, &t), 0);
    run_until_readable(c, told[0]);
    CHECK_EQ(read(told[0], &masked, 1), 1);
    CHECK_EQ(masked, 1);             /* libcurl's threads get no signals */
    fetch_cancel(t);                 /* must not wait; if it does, the time limit ends the test */
    CHECK_EQ(fetch_start(c->fetcher, &o, note_result, c, &t), 0);
    run_until_readable(c, told[0]);
    client_free(c);
    CHECK_EQ(write(fds[1], "xx", 2), 2);
}

TEST(test_a_name_is_judged_by_the_addresses_that_it_has_now)
{
    static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    struct client *c = client_new();
    struct site s = site_new(ANSWERS(ok, ok)), other = site_new(ANSWERS(ok));
    struct networks loopback = {0}, public = {0};
    char url[64];
    CHECK_EQ(networks_add(&loopback, SLICE("127.0.0.0/8")), 0);
    CHECK_EQ(networks_add(&public, SLICE("public")), 0);
    snprintf(url, sizeof url, "http://moving.test:%s", strrchr(s.url, ':') + 1);
    moves_to = "127.0.0.1";
    run(c, &(struct fetch_options){.url = url});        /* leaves a connection that nothing has judged */
    CHECK_EQ(c->status, 200);
    run(c, &(struct fetch_options){.url = url, .to = &public});
    CHECK_EQ(c->error, -ERR_FORBIDDEN);
    CHECK_SLICE(slice_from(c->detail), SLICE("127.0.0.1 is not in a network that may be reached"));
    snprintf(url, sizeof url, "http://moving.test:%s", strrchr(other.url, ':') + 1);
    run(c, &(struct fetch_options){.url = url, .to = &loopback});
    CHECK_EQ(c->status, 200);
    moves_to = "192.0.2.1";
    run(c, &(struct fetch_options){.url = "http://moving.test:1/", .to = &loopback});
    CHECK_EQ(c->error, -ERR_FORBIDDEN);
    client_free(c);
}

TEST(test_a_dry_fetch_connects_to_nothing)
{
    struct client *c = client_new();
    struct site s;
    struct networks public = {0}, loopback = {0};
    int listener = listen_anywhere(&s);
    CHECK_EQ(networks_add(&public, SLICE("public")), 0);
    CHECK_EQ(networks_add(&loopback, SLICE("127.0.0.1")), 0);
    run(c, &(struct fetch_options){.url = s.url, .to = &loopback, .dry = true});
    CHECK_EQ(c->error, 0);
    CHECK_EQ(c->status, 0);
    run(c, &(struct fetch_options){.url = "https://1.1.1.1/", .to = &public, .dry = true});
    CHECK_EQ(c->error, 0);
    run(c, &(struct fetch_options){.url = "http://0x7f.1/", .to = &public, .dry = true});
    CHECK_EQ(c->error, -ERR_FORBIDDEN);
    run(c, &(struct fetch_options){.url = "http://2130706433/", .to = &public, .dry = true});
    CHECK_EQ(c->error, -ERR_FORBIDDEN);
    run(c, &(struct fetch_options){.url = "http://[::ffff:127.0.0.1]/", .to = &public, .dry = true});
    CHECK_EQ(c->error, -ERR_FORBIDDEN);
    struct pollfd waiting = {listener, POLLIN, 0};
    CHECK_EQ(poll(&waiting, 1, 0), 0);
    client_free(c);
    close(listener);
}

TEST(test_a_redirect_is_no_way_around_the_networks)
{
    static const char hop[] = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.2/\r\n" CLOSE "\r\n";
    struct client *c = client_new();
    struct site s = site_new(ANSWERS(hop));
    struct networks host = {0};
    CHECK_EQ(networks_add(&host, SLICE("127.0.0.1")), 0);
    run(c, &(struct fetch_options){.url = s.url, .to = &host, .redirects = 3});
    CHECK_EQ(c->status, 302);
    client_free(c);
}

TEST(test_without_libcurl_a_fetch_fails_with_a_sentence)
{
    struct client *c = client_new();
    library_is_missing = true;
    run(c, &(struct fetch_options){.url = "http://127.0.0.1/"});
    CHECK_EQ(c->error, -ERR_FETCH);
    CHECK(strstr(c->detail, "libmissing.so: cannot open shared object file"));
    client_free(c);
}
