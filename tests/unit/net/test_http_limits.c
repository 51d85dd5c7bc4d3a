/*
 * Bounds: deadlines, sizes, memory, connections, descriptors. A client that exceeds one is refused or closed; other
 * clients are not affected.
 */
#include <malloc.h>
#include <sys/resource.h>

#include "unit/http_rig.h"

#define H "Host: x\r\n"
#define PING "GET /ping HTTP/1.1\r\n" H "\r\n"

static uint64_t ms_since(uint64_t began_ns)
{
    return (clock_ns() - began_ns) / NS_PER_MS;
}

/* A client that sends one byte every few milliseconds until it is closed. */
struct dripper {
    struct rig *rig;
    struct watch timer;
    int fd, sent;
};

static void drip(void *arg)
{
    struct dripper *d = arg;
    if (send(d->fd, "a", 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1)
        d->sent++;
    watch_arm(&d->timer, 10 * NS_PER_MS);
}

static void check_slow(slice begin)
{
    struct http_limits limits = rig_limits();
    limits.head_ms = limits.body_ms = 200;
    struct rig *rig = rig_new(&limits);
    struct dripper d = {.rig = rig, .fd = dial(rig)};
    uint64_t began = clock_ns();
    send_all(rig, d.fd, begin);
    watch_timer(&rig->loop, &d.timer, drip, &d);
    watch_arm(&d.timer, 0);
    expect_status(rig, d.fd, 408);
    CHECK(ms_since(began) >= 200);
    CHECK(ms_since(began) < 2000);
    CHECK(d.sent >= 5);
    watch_fini(&d.timer);
    expect_end(rig, d.fd);
    CHECK_EQ(rig_stats(rig).timeouts, 1);
    rig_free(rig);
}

TEST(test_a_head_that_drips_gets_408_at_its_deadline)
{
    check_slow(SLICE("GET / HTTP/1.1\r\n" H "A: "));
}

TEST(test_a_body_that_drips_gets_408_at_its_deadline)
{
    check_slow(SLICE("PUT / HTTP/1.1\r\n" H "Content-Length: 1000000\r\n\r\n"));
}

TEST(test_a_chunked_body_that_drips_gets_408_at_its_deadline)
{
    check_slow(SLICE("PUT / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\nfffff\r\n"));
}

TEST(test_an_idle_connection_is_closed_without_a_word)
{
    struct http_limits limits = rig_limits();
    limits.idle_ms = 100;
    struct rig *rig = rig_new(&limits);
    int fresh = dial(rig), used = dial(rig);
    uint64_t began = clock_ns();
    SEND(rig, used, PING);
    EXPECT(rig, used, "GET /ping?|");
    expect_end(rig, fresh);
    expect_end(rig, used);
    CHECK(ms_since(began) >= 100);
    CHECK_EQ(rig_stats(rig).connections, 0);
    rig_free(rig);
}

TEST(test_a_parked_request_is_not_timed)
{
    struct http_limits limits = rig_limits();
    limits.idle_ms = limits.head_ms = limits.body_ms = limits.write_ms = 50;
    struct rig *rig = rig_new(&limits);
    int fd = dial(rig), idle = dial(rig);
    SEND(rig, fd, "GET /park HTTP/1.1\r\n" H "\r\n");
    RIG_UNTIL(rig, rig->parked_count == 1);
    expect_end(rig, idle);
    idle = dial(rig);
    expect_end(rig, idle);
    answer_parked(rig, SLICE("done"));
    EXPECT(rig, fd, "done");
    rig_free(rig);
}

/* The client asks for 8 MiB repeatedly and never reads. One answer is made, and dropped at the write deadline. */
TEST(test_a_client_that_never_reads_costs_one_answer_and_stalls_nobody)
{
    struct http_limits limits = rig_limits();
    limits.write_ms = 300;
    struct rig *rig = rig_new(&limits);
    struct buf asks = {0};
    rig->size = 8 * MIB;
    for (int i = 0; i < 1000; i++)
        buf_add_slice(&asks, SLICE("GET /big HTTP/1.1\r\n" H "\r\n"));
    int deaf = dial(rig), fd = dial(rig);
    send(deaf, asks.data, buf_size(&asks), MSG_DONTWAIT | MSG_NOSIGNAL);
    for (int i = 0; i < 100; i++) {
        SEND(rig, fd, PING);
        EXPECT(rig, fd, "GET /ping?|");
    }
    CHECK_EQ(rig_stats(rig).requests, 101);
    CHECK_EQ(rig_stats(rig).connections, 2);
    RIG_UNTIL(rig, rig_stats(rig).connections == 1);
    SEND(rig, fd, PING);
    EXPECT(rig, fd, "GET /ping?|");
    CHECK_EQ(rig_stats(rig).requests, 102);
    buf_fini(&asks);
    rig_free(rig);
}

TEST(test_an_error_answer_survives_a_client_that_goes_on_sending)
{
    struct http_limits limits = rig_limits();
    limits.body = 1000;
    struct rig *rig = rig_new(&limits);
    struct buf much = {0}, in = {0};
    pattern_add(&much, 4 * MIB);
    int fd = dial(rig);
    SEND(rig, fd, "PUT / HTTP/1.1\r\n" H "Content-Length: 4194304\r\n\r\n");
    send_all(rig, fd, buf_slice(&much));
    struct reply r = expect_reply(rig, fd, &in, false);
    CHECK_EQ(r.status, 413);
    CHECK(memmem(r.body.p, r.body.n, "1000", 4));
    shutdown(fd, SHUT_WR);
    buf_clear(&in);
    expect_end(rig, fd);
    buf_fini(&much);
    buf_fini(&in);
    rig_free(rig);
}

TEST(test_a_client_that_lingers_after_an_error_is_closed_in_the_end)
{
    struct rig *rig = rig_new(NULL);
    int fd = dial(rig);
    uint64_t began = clock_ns();
    SEND(rig, fd, "nonsense\r\n\r\n");
    expect_status(rig, fd, 400);
    CHECK_EQ(rig_stats(rig).connections, 1);
    RIG_UNTIL(rig, rig_stats(rig).connections == 0);
    CHECK(ms_since(began) >= HTTP_LINGER_MS);
    close(fd);
    rig_free(rig);
}

TEST(test_a_body_at_the_limit_is_taken_and_one_byte_more_is_not)
{
    struct http_limits limits = rig_limits();
    limits.body = 3;
    struct rig *rig = rig_new(&limits);
    int fd = dial(rig);
    SEND(rig, fd, "PUT / HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nabc");
    EXPECT(rig, fd, "PUT /?|abc");
    SEND(rig, fd, "PUT / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n");
    EXPECT(rig, fd, "PUT /?|abc");
    SEND(rig, fd, "PUT / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n2\r\n");
    expect_status(rig, fd, 413);
    fd = dial(rig);
    SEND(rig, fd, "PUT / HTTP/1.1\r\n" H "Content-Length: 4\r\n\r\n");
    expect_status(rig, fd, 413);
    rig_free(rig);
}

/* A Content-Length reserves no memory: only bytes that have arrived use some. */
TEST(test_bodies_that_are_too_much_together_get_429_and_the_others_go_on)
{
    struct http_limits limits = rig_limits();
    limits.bodies = 300 * KIB;
    struct rig *rig = rig_new(&limits);
    struct buf much = {0}, in = {0};
    pattern_add(&much, 150 * KIB);
    int claims[20], full = dial(rig), over = dial(rig), small = dial(rig);
    for (int i = 0; i < 20; i++) {
        claims[i] = dial(rig);
        SEND(rig, claims[i], "PUT / HTTP/1.1\r\n" H "Content-Length: 153600\r\n\r\n");
    }
    SEND(rig, full, "PUT /park HTTP/1.1\r\n" H "Content-Length: 153600\r\n\r\n");
    send_all(rig, full, buf_slice(&much));
    RIG_UNTIL(rig, rig->parked_count == 1);
    SEND(rig, over, "PUT / HTTP/1.1\r\n" H "Content-Length: 307200\r\n\r\n");
    try_send(rig, over, buf_slice(&much));
    try_send(rig, over, buf_slice(&much));
    struct reply r = expect_reply(rig, over, &in, false);
    CHECK_EQ(r.status, 429);
    CHECK(http_head_find(&r.head, SLICE("retry-after")).p);
    SEND(rig, small, "PUT / HTTP/1.1\r\n" H "Content-Length: 1\r\n\r\nx");
    EXPECT(rig, small, "PUT /?|x");
    answer_parked(rig, SLICE("done"));
    EXPECT(rig, full, "done");
    send_all(rig, claims[0], buf_slice(&much));  /* there is room again */
    expect_status(rig, claims[0], 200);
    buf_fini(&much);
    buf_fini(&in);
    rig_free(rig);
}

TEST(test_above_the_bound_of_unsent_answers_the_one_that_read_nothing_for_longest_is_cut_off)
{
    struct http_limits limits = rig_limits();
    limits.bodies = 45 * MIB;
    struct rig *rig = rig_new(&limits);
    struct buf in = {0};
    int fd[3];
    rig->size = 20 * MIB;      /* more than the kernel buffers */
    for (int i = 0; i < 3; i++) {
        fd[i] = dial(rig);
        SEND(rig, fd[i], "GET /big HTTP/1.1\r\n" H "\r\n");
        RIG_UNTIL(rig, rig_stats(rig).requests == (uint64_t)i + 1);
        while (i == 1 && buf_size(&in) < 4 * MIB)      /* the first one reads on after the second has begun */
            CHECK(receive(rig, fd[0], &in) > 0);
    }
    CHECK_EQ(rig_stats(rig).slow, 1);
    CHECK_EQ(rig_stats(rig).connections, 2);
    CHECK_EQ(expect_reply(rig, fd[0], &in, false).body.n, rig->size);
    buf_clear(&in);
    CHECK_EQ(expect_reply(rig, fd[2], &in, false).body.n, rig->size);
    buf_clear(&in);
    ssize_t n;
    while ((n = receive(rig, fd[1], &in)) > 0)
        ;
    CHECK_EQ(n, -ECONNRESET);
    rig->size = 50 * MIB;      /* beyond the bound by itself */
    SEND(rig, fd[0], "GET /big HTTP/1.1\r\n" H "\r\n");
    buf_clear(&in);
    CHECK_EQ(expect_reply(rig, fd[0], &in, false).body.n, rig->size);
    CHECK_EQ(rig_stats(rig).slow, 1);
    buf_fini(&in);
    rig_free(rig);
}

TEST(test_past_the_connection_limit_a_client_gets_429_and_room_is_found_again)
{
    struct http_limits limits = rig_limits();
    limits.connections = 2;
    struct rig *rig = rig_new(&limits);
    struct buf in = {0};
    int a = dial(rig), b = dial(rig), c = dial(rig);
    SEND(rig, c, PING);
    struct reply r = expect_reply(rig, c, &in, false);
    CHECK_EQ(r.status, 429);
    CHECK(http_head_find(&r.head, SLICE("retry-after")).p);
    CHECK_EQ(rig_stats(rig).refused, 1);
    close(a);
    RIG_UNTIL(rig, rig_stats(rig).connections == 1);
    int d = dial(rig);
    SEND(rig, d, PING);
    EXPECT(rig, d, "GET /ping?|");
    SEND(rig, b, PING);
    EXPECT(rig, b, "GET /ping?|");
    buf_fini(&in);
    rig_free(rig);
}

/* Consul's health check is such a client. */
TEST(test_past_the_connection_limit_whoever_is_idle_for_long_gives_way)
{
    struct http_limits limits = rig_limits();
    limits.connections = 2;
    struct rig *rig = rig_new(&limits);
    int a = dial(rig), b = dial(rig);
    RIG_UNTIL(rig, rig_stats(rig).connections == 2);
    usleep(1100 * 1000);
    SEND(rig, b, PING);
    EXPECT(rig, b, "GET /ping?|");
    int c = dial(rig);
    SEND(rig, c, PING);
    EXPECT(rig, c, "GET /ping?|");
    expect_end(rig, a);
    CHECK_EQ(rig_stats(rig).connections, 2);
    CHECK_EQ(rig_stats(rig).refused, 0);
    SEND(rig, b, PING);
    EXPECT(rig, b, "GET /ping?|");
    rig_free(rig);
}

/* Leaves room for `more` descriptors above those that are open. */
static void leave_descriptors(int more)
{
    int next = dup(0);
    struct rlimit limit = {0};
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = (rlim_t)(next + more);
    close(next);
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

TEST(test_running_out_of_descriptors_neither_spins_nor_stalls_the_others)
{
    struct rig *rig = rig_new(NULL);
    int fds[6];
    for (int i = 0; i < 6; i++)
        fds[i] = dial(rig);
    leave_descriptors(3);
    SEND(rig, fds[0], PING);
    EXPECT(rig, fds[0], "GET /ping?|");
    RIG_UNTIL(rig, rig_stats(rig).connections == 3);
    unsigned before = rig->turns;
    uint64_t began = clock_ns();
    while (ms_since(began) < 1200)  /* the listener's own timer wakes it twice or so */
        rig_run(rig);
    CHECK(rig->turns - before < 10);
    SEND(rig, fds[1], PING);
    EXPECT(rig, fds[1], "GET /ping?|");
    SEND(rig, fds[3], PING);
    shutdown(fds[0], SHUT_RDWR);
    EXPECT(rig, fds[3], "GET /ping?|");
    rig_free(rig);
}

static unsigned descriptors_allowed(void)
{
    struct rlimit limit = {0};
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    getrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur > 100000 ? 100000 : (unsigned)limit.rlim_cur;
}

/* As many connections as one process can hold both ends of. Each is used once first, so that it has had buffers. */
TEST(test_ten_thousand_idle_connections_cost_a_few_hundred_bytes_each)
{
    unsigned room = (descriptors_allowed() - 50) / 2, n = room < 10000 ? room : 10000;
    struct http_limits limits = rig_limits();
    limits.idle_ms = 600 * 1000;
    struct rig *rig = rig_new(&limits);
    int fd = dial(rig);
    SEND(rig, fd, PING);
    EXPECT(rig, fd, "GET /ping?|");
    size_t before = mallinfo2().uordblks;
    for (unsigned i = 0; i < n; i++) {
        int idle = dial(rig);
        SEND(rig, idle, PING);
        EXPECT(rig, idle, "GET /ping?|");
    }
    size_t each = (mallinfo2().uordblks - before) / n;
    fprintf(stderr, "%u connections, %zu bytes each\n", n, each);
    CHECK_EQ(rig_stats(rig).connections, n + 1);
    CHECK(each < 700);
    unsigned turns = rig->turns;
    SEND(rig, fd, PING);
    EXPECT(rig, fd, "GET /ping?|");
    CHECK(rig->turns - turns < 5);
    rig_free(rig);
}

TEST(test_an_idle_server_sleeps)
{
    struct http_limits limits = rig_limits();
    limits.idle_ms = 900;
    limits.head_ms = limits.body_ms = 600;
    struct rig *rig = rig_new(&limits);
    int fd = dial(rig);
    SEND(rig, fd, "GET /pi");
    RIG_UNTIL(rig, rig_stats(rig).bytes_in == 7);
    SEND(rig, fd, "ng HTTP/1.1\r\n" H "\r\n");
    EXPECT(rig, fd, "GET /ping?|");
    unsigned before = rig->turns;
    expect_end(rig, fd);
    CHECK(rig->turns - before <= 3);  /* for the timer of the head, the idle timer and the close */
    rig_free(rig);
}
