/*
 * A real server on loopback and its clients, in one thread: a client's call runs turns of the server until it has what
 * it waits for, so nothing depends on timing. If that never arrives, the runner's time limit ends the test.
 *
 * The server's handler decides by path:
 *     /echo    answers with the method, target and body
 *     /park    does not answer; the request is in rig->parked
 *     /big     answers with rig->size bytes by http_answer_take; /copy does so by http_answer
 *     /file    answers with rig->size bytes of "file" from position 3 on
 *     /stream  parks the request with an answer begun
 *     /close   answers with Connection: close
 */
#ifndef UNIT_HTTP_RIG_H
#define UNIT_HTTP_RIG_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/http.h"
#include "unit/head.h"
#include "unit/unit.h"

enum { PARKED_MAX = 16 };

struct rig {
    struct loop loop;
    struct http_server *http;
    uint16_t port;
    unsigned turns, route;
    size_t size;                 /* of /big and /file */
    struct http_request *parked[PARKED_MAX];
    unsigned parked_count;
};

static const struct http_answer rig_ok = {.status = 200, .type = {"text/plain", 10}};

/* Byte i of a generated body. Its period is no multiple of a buffer's size, which would hide shifted bytes. */
static inline char pattern(size_t i)
{
    return (char)('a' + (i * 7 + i / 251) % 26);
}

static inline void pattern_add(struct buf *out, size_t n)
{
    char *to = buf_reserve(out, n);
    for (size_t i = 0; i < n; i++)
        to[i] = pattern(i);
    out->end += n;
}

static inline void handle_echo(struct http_request *r)
{
    struct buf body = {0};
    buf_addf(&body, "%.*s %.*s?%.*s|", SLICE_ARGS(r->head.method), SLICE_ARGS(r->head.path),
             SLICE_ARGS(r->head.query));
    buf_add_slice(&body, r->body);
    http_answer(r, &rig_ok, buf_slice(&body));
    buf_fini(&body);
}

static inline void handle_big(struct rig *rig, struct http_request *r, bool take)
{
    struct buf body = {0};
    pattern_add(&body, rig->size);
    if (take)
        http_answer_take(r, &rig_ok, &body);
    else
        http_answer(r, &rig_ok, buf_slice(&body));
    buf_fini(&body);
}

static inline void handle_park(struct rig *rig, struct http_request *r)
{
    CHECK(rig->parked_count < PARKED_MAX);
    rig->parked[rig->parked_count++] = r;
}

static inline void handle(struct rig *rig, struct http_request *r)
{
    slice path = r->head.path;
    r->route = rig->route;
    if (slice_eq(path, SLICE("/park")) || slice_eq(path, SLICE("/stream")))
        handle_park(rig, r);
    else if (slice_eq(path, SLICE("/big")) || slice_eq(path, SLICE("/copy")))
        handle_big(rig, r, path.p[1] == 'b');
    else if (slice_eq(path, SLICE("/file")))
        http_answer_file(r, &rig_ok, open("file", O_RDONLY | O_CLOEXEC), 3, rig->size);
    else if (slice_eq(path, SLICE("/close")))
        http_answer(r, &(struct http_answer){.status = 200, .close = true}, SLICE("bye"));
    else
        handle_echo(r);
    if (slice_eq(path, SLICE("/stream")))
        http_begin(r, &rig_ok);
}

static inline void rig_turn(void *arg)
{
    struct rig *rig = arg;
    struct http_request *r;
    rig->turns++;
    while ((r = http_next(rig->http)))
        handle(rig, r);
    http_flush(rig->http);
    loop_stop(&rig->loop);
}

/* One turn of the server; sleeps until there is an event. */
static inline void rig_run(struct rig *rig)
{
    loop_run(&rig->loop, rig_turn, rig);
}

static inline struct http_limits rig_limits(void)
{
    return (struct http_limits){
        .connections = HTTP_CONNECTIONS_MAX, .body = HTTP_BODY_MAX, .bodies = HTTP_BODIES_MAX,
        .head_ms = 10000, .body_ms = 10000, .idle_ms = 10000, .write_ms = 10000,
    };
}

static inline struct rig *rig_new(const struct http_limits *limits)
{
    struct http_limits usual = rig_limits();
    struct rig *rig = calloc(1, sizeof *rig);
    CHECK_EQ(loop_init(&rig->loop), 0);
    rig->http = http_server_new(&rig->loop, limits ? limits : &usual);
    CHECK_EQ(http_listen(rig->http, SLICE("127.0.0.1:0"), &rig->port), 0);
    return rig;
}

static inline void rig_free(struct rig *rig)
{
    http_server_free(rig->http);
    loop_fini(&rig->loop);
    free(rig);
}

static inline struct http_stats rig_stats(const struct rig *rig)
{
    struct http_stats stats;
    http_stats(rig->http, &stats);
    return stats;
}

/* Answers the parked request. No event follows from that outside of a turn, so a turn is asked for. */
static inline void answer_parked(struct rig *rig, slice body)
{
    http_answer(rig->parked[0], &rig_ok, body);
    loop_again(&rig->loop);
}

#define RIG_UNTIL(rig, condition) \
    while (!(condition))          \
    rig_run(rig)

/* ---- clients ---- */

/* The kernel completes the connection before the server has accepted it. */
static inline int dial(const struct rig *rig)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(rig->port)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    CHECK_EQ(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
    return fd;
}

/* Sends all, with turns of the server in between when the socket is full. False when the server has closed. */
static inline bool try_send(struct rig *rig, int fd, slice bytes)
{
    while (bytes.n > 0) {
        ssize_t n = send(fd, bytes.p, bytes.n, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN)
            return false;
        bytes = slice_skip(bytes, n < 0 ? 0 : (size_t)n);
        if (n < 0)
            rig_run(rig);
    }
    return true;
}

static inline void send_all(struct rig *rig, int fd, slice bytes)
{
    CHECK(try_send(rig, fd, bytes));
}

#define SEND(rig, fd, literal) send_all(rig, fd, SLICE(literal))

/* Receives some bytes, with turns of the server until there are any. 0 at the end; -ECONNRESET. */
static inline ssize_t receive(struct rig *rig, int fd, struct buf *in)
{
    for (;;) {
        ssize_t n = recv(fd, buf_reserve(in, 4096), 4096, MSG_DONTWAIT);
        if (n >= 0) {
            in->end += (size_t)n;
            return n;
        }
        if (errno != EAGAIN)
            return -errno;
        rig_run(rig);
    }
}

/* An answer at the front of `in`; the slices are valid until `in` changes. */
struct reply {
    int status;
    struct http_head head;  /* the headers only */
    slice body;
    size_t size;
};

static inline bool reply_parse(slice in, bool bodiless, struct reply *r)
{
    const char *end = in.n ? memmem(in.p, in.n, "\r\n\r\n", 4) : NULL;
    if (!end)
        return false;
    *r = (struct reply){.status = atoi(in.p + 9)};
    slice rest = slice_of(in.p, (size_t)(end - in.p)), line, name;
    CHECK(slice_starts(rest, SLICE("HTTP/1.1 ")));
    slice_split(&rest, '\n', &line);
    while (slice_split(&rest, '\n', &line)) {
        slice_split(&line, ':', &name);
        struct http_header *h = &r->head.headers[r->head.header_count++];
        *h = (struct http_header){.name = name, .value = slice_trim(line)};
        if (h->value.n > 0 && h->value.p[h->value.n - 1] == '\r')
            h->value.n--;
    }
    uint64_t length = 0;
    slice value = http_head_find(&r->head, SLICE("content-length"));
    CHECK(!value.p || slice_u64(value, &length) == 0);
    size_t head = (size_t)(end + 4 - in.p);
    r->body = slice_of(end + 4, bodiless ? 0 : (size_t)length);
    r->size = head + r->body.n;
    return r->size <= in.n;
}

/* The next answer to this client, at the front of `in`; what follows it stays there. */
static inline struct reply expect_reply(struct rig *rig, int fd, struct buf *in, bool bodiless)
{
    struct reply r;
    while (!reply_parse(buf_slice(in), bodiless, &r))
        if (receive(rig, fd, in) <= 0)
            unit_failed(__FILE__, __LINE__, "the connection ended instead of an answer");
    return r;
}

static inline void expect_status(struct rig *rig, int fd, int status)
{
    struct buf in = {0};
    struct reply r = expect_reply(rig, fd, &in, false);
    CHECK_EQ(r.status, status);
    CHECK_EQ(r.size, buf_size(&in));
    buf_fini(&in);
}

static inline void expect_body(struct rig *rig, int fd, slice body)
{
    struct buf in = {0};
    struct reply r = expect_reply(rig, fd, &in, false);
    CHECK_EQ(r.status, 200);
    CHECK_SLICE(r.body, body);
    CHECK_EQ(r.size, buf_size(&in));
    buf_fini(&in);
}

#define EXPECT(rig, fd, literal) expect_body(rig, fd, SLICE(literal))

/* Checks that the server closes the connection without a reset and without further bytes. */
static inline void expect_end(struct rig *rig, int fd)
{
    struct buf in = {0};
    CHECK_EQ(receive(rig, fd, &in), 0);
    close(fd);
    buf_fini(&in);
}

#endif
