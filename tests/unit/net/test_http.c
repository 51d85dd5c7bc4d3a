#include "base/err.h"
#include "unit/http_rig.h"

#define H "Host: x\r\n"
#define PING "GET /ping HTTP/1.1\r\n" H "\r\n"

TEST(test_a_request_is_answered_and_the_connection_kept)
{
    struct rig *rig = rig_new(NULL);
    int fd = dial(rig);
    for (int i = 0; i < 3; i++) {
        SEND(rig, fd, "POST /a?b HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhello");
        EXPECT(rig, fd, "POST /a?b|hello");
    }
    CHECK_EQ(rig_stats(rig).requests, 3);
    CHECK_EQ(rig_stats(rig).accepted, 1);
    CHECK_EQ(rig_stats(rig).requests_in_flight, 0);
    rig_free(rig);
}

TEST(test_an_answer_names_its_date_type_and_length)
{
    struct rig *rig = rig_new(NULL);
    struct buf in = {0};
    int fd = dial(rig);
    SEND(rig, fd, PING);
    struct reply r = expect_reply(rig, fd, &in, false);
    CHECK_SLICE(http_head_find(&r.head, SLICE("content-type")), SLICE("text/plain"));
    CHECK_SLICE(http_head_find(&r.head, SLICE("content-length")), SLICE("11"));
    CHECK_EQ(http_head_find(&r.head, SLICE("date")).n, 29);
    CHECK(!http_head_find(&r.head, SLICE("connection")).p);
    buf_fini(&in);
    rig_free(rig);
}

static void check_split(struct rig *rig, slice request, slice answer)
{
    for (size_t at = 1; at < request.n; at++) {
        int fd = dial(rig);
        uint64_t before = rig_stats(rig).bytes_in;
        send_all(rig, fd, slice_of(request.p, at));
        RIG_UNTIL(rig, rig_stats(rig).bytes_in == before + at);
        send_all(rig, fd, slice_skip(request, at));
        expect_body(rig, fd, answer);
        close(fd);
    }
}

TEST(test_a_request_split_at_any_byte_is_the_same_request)
{
    struct rig *rig = rig_new(NULL);
    check_split(rig, SLICE("POST /a HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhello"), SLICE("POST /a?|hello"));
    check_split(rig, SLICE("POST /a HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n"
                           "2\r\nhe\r\n3;x\r\nllo\r\n0\r\nA: b\r\n\r\n"), SLICE("POST /a?|hello"));
    rig_free(rig);
}

TEST(test_pipelined_requests_are_answered_in_order)
{
    struct rig *rig = rig_new(NULL);
    struct buf all = {0}, in = {0};
    char want[32];
    int fd = dial(rig);
    for (int i = 0; i < 500; i++)  /* more than one buffer holds */
        buf_addf(&all, i % 2 ? "GET /%d HTTP/1.1\r\n" H "\r\n"
                             : "PUT /%d HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", i);
    send_all(rig, fd, buf_slice(&all));
    for (int i = 0; i < 500; i++) {
        struct reply r = expect_reply(rig, fd, &in, false);
        snprintf(want, sizeof want, i % 2 ? "GET /%d?|" : "PUT /%d?|x", i);
        CHECK_SLICE(r.body, slice_from(want));
        buf_drop(&in, r.size);
    }
    CHECK_EQ(rig_stats(rig).requests, 500);
    buf_fini(&all);
    buf_fini(&in);
    rig_free(rig);
}

TEST(test_a_pipelined_request_waits_until_the_one_before_is_answered)
{
    struct rig *rig = rig_new(NULL);
    int fd = dial(rig);
    SEND(rig, fd, "GET /park HTTP/1.1\r\n" H "\r\n" PING);
    RIG_UNTIL(rig, rig->parked_count == 1);
    CHECK_EQ(rig_stats(rig).requests, 1);
    answer_parked(rig, SLICE("first"));
    struct buf in = {0};
    struct reply r = expect_reply(rig, fd, &in, false);
    CHECK_SLICE(r.body, SLICE("first"));
    buf_drop(&in, r.size);
    r = expect_reply(rig, fd, &in, false);
    CHECK_SLICE(r.body, SLICE("GET /ping?|"));
    buf_fini(&in);
    rig_free(rig);
}

/* The slices of a parked request stay valid, whatever its client sends meanwhile. */
TEST(test_a_parked_request_keeps_its_bytes_while_more_arrive)
{
    struct rig *rig = rig_new(NULL);
    struct buf noise = {0};
    int fd = dial(rig), other = dial(rig);
    SEND(rig, fd, "PUT /park HTTP/1.1\r\n" H "A: value\r\nContent-Length: 4\r\n\r\nbody");
    RIG_UNTIL(rig, rig->parked_count == 1);
    pattern_add(&noise, 64 * KIB);
    send(fd, noise.data, buf_size(&noise), MSG_DONTWAIT | MSG_NOSIGNAL);
    for (int i = 0; i < 20; i++) {
        SEND(rig, other, PING);
        EXPECT(rig, other, "GET /ping?|");
    }
    struct http_request *r = rig->parked[0];
    CHECK_SLICE(http_head_find(&r->head, SLICE("a")), SLICE("value"));
    CHECK_SLICE(r->body, SLICE("body"));
    CHECK(rig_stats(rig).bytes_in < 20 * KIB);
    answer_parked(rig, SLICE("done"));
    struct buf in = {0};
    CHECK_SLICE(expect_reply(rig, fd, &in, false).body, SLICE("done"));
    buf_fini(&in);
    buf_fini(&noise);
    rig_free(rig);
}

TEST(test_reading_goes_on_where_it_paused_for_a_parked_request)
{
    struct rig *rig = rig_new(NULL);
    struct buf all = {0}, in = {0};
    int fd = dial(rig);
    buf_add_slice(&all, SLICE("GET /park HTTP/1.1\r\n" H "\r\n"));
    for (int i = 0; i < 1000; i++)
        buf_add_slice(&all, SLICE(PING));
    send_all(rig, fd, buf_slice(&all));
    RIG_UNTIL(rig, rig->parked_count == 1);
    uint64_t before;
    do {
        before = rig_stats(rig).bytes_in;
        loop_again(&rig->loop);
        rig_run(rig);
    } while (rig_stats(rig).bytes_in > before);
    CHECK(before < buf_size(&all));
    answer_parked(rig, SLICE("first"));
    for (int i = 0; i < 1001; i++) {
        struct reply r = expect_reply(rig, fd, &in, false);
        CHECK_SLICE(r.body, i ? SLICE("GET /ping?|") : SLICE("first"));
        buf_drop(&in, r.size);
    }
    buf_fini(&all);
    buf_fini(&in);
    rig_free(rig);
}

static void check_upload(struct rig *rig, size_t size, bool chunked)
{
    struct buf request = {0}, want = {0};
    struct buf body = {0};
    pattern_add(&body, size);
    buf_add_slice(&want, SLICE("PUT /a?|"));
    buf_add_slice(&want, buf_slice(&body));
    buf_addf(&request, "PUT /a HTTP/1.1\r\n" H);
    if (!chunked)
        buf_addf(&request, "Content-Length: %zu\r\n\r\n", size);
    else
        buf_addf(&request, "Transfer-Encoding: chunked\r\n\r\n");
    for (size_t at = 0, n; at < size; at += n) {
        n = chunked && size - at > 5000 ? 5000 : size - at;
        if (chunked)
            buf_addf(&request, "%zX\r\n", n);
        buf_add(&request, body.data + at, n);
        buf_add_slice(&request, chunked ? SLICE("\r\n") : SLICE(""));
    }
    buf_add_slice(&request, chunked ? SLICE("0\r\n\r\n") : SLICE(""));
    int fd = dial(rig);
    send_all(rig, fd, buf_slice(&request));
    expect_body(rig, fd, buf_slice(&want));
    close(fd);
    buf_fini(&request);
    buf_fini(&want);
    buf_fini(&body);
}

TEST(test_bodies_of_any_size_arrive_whole)
{
    struct rig *rig = rig_new(NULL);
    static const size_t sizes[] = {1, 4000, 4096, 4097, 16 * KIB, 70 * 1000, HTTP_BODY_MAX - 1, HTTP_BODY_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        check_upload(rig, sizes[i], false);
        check_upload(rig, sizes[i], true);
    }
    rig_free(rig);
}

static void check_download(struct rig *rig, const char *path)
{
    struct buf request = {0}, want = {0};
    int fd = dial(rig);
    buf_addf(&request, "GET %s HTTP/1.1\r\n" H "\r\n", path);
    pattern_add(&want, rig->size);
    send_all(rig, fd, buf_slice(&request));
    expect_body(rig, fd, buf_slice(&want));
    SEND(rig, fd, PING);
    EXPECT(rig, fd, "GET /ping?|");
    close(fd);
    buf_fini(&request);
    buf_fini(&want);
}

static void file_make(size_t size)
{
    struct buf content = {0};
    buf_add_slice(&content, SLICE("XYZ"));
    pattern_add(&content, size);
    int fd = open("file", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    for (size_t at = 0; at < buf_size(&content);)
        at += (size_t)write(fd, content.data + at, buf_size(&content) - at);
    close(fd);
    buf_fini(&content);
}

TEST(test_answers_of_any_size_arrive_whole_copied_taken_or_from_a_file)
{
    struct rig *rig = rig_new(NULL);
    static const size_t sizes[] = {0, 1, 2048, 2049, 5000, 100 * 1000, 7 * MIB};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        rig->size = sizes[i];
        file_make(rig->size);
        check_download(rig, "/copy");
        check_download(rig, "/big");
        check_download(rig, "/file");
    }
    rig_free(rig);
}

TEST(test_a_file_shorter_than_announced_ends_the_connection)
{
    struct rig *rig = rig_new(NULL);
    struct buf in = {0};
    int fd = dial(rig);
    file_make(1000);
    rig->size = 2000;
    SEND(rig, fd, "GET /file HTTP/1.1\r\n" H "\r\n");
    while (receive(rig, fd, &in) > 0)
        ;
    CHECK(buf_size(&in) < 2000);
    buf_fini(&in);
    rig_free(rig);
}

TEST(test_head_gets_the_length_and_no_body)
{
    struct rig *rig = rig_new(NULL);
    static const char *const paths[] = {"/a", "/big", "/copy", "/file"};
    struct buf in = {0}, request = {0};
    int fd = dial(rig);
    rig->size = 100000;
    file_make(rig->size);
    for (int i = 0; i < 4; i++) {
        buf_clear(&request);
        buf_addf(&request, "HEAD %s HTTP/1.1\r\n" H "\r\n", paths[i]);
        send_all(rig, fd, buf_slice(&request));
        struct reply r = expect_reply(rig, fd, &in, true);
        CHECK_SLICE(http_head_find(&r.head, SLICE("content-length")), i ? SLICE("100000") : SLICE("9"));
        CHECK_EQ(r.size, buf_size(&in));
        buf_drop(&in, r.size);
    }
    buf_fini(&request);
    buf_fini(&in);
    rig_free(rig);
}

TEST(test_expect_gets_100_only_after_the_head_is_found_good)
{
    struct rig *rig = rig_new(NULL);
    struct buf in = {0};
    int fd = dial(rig);
    SEND(rig, fd, "PUT /a HTTP/1.1\r\n" H "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    struct reply r = expect_reply(rig, fd, &in, true);
    CHECK_EQ(r.status, 100);
    buf_drop(&in, r.size);
    SEND(rig, fd, "hi");
    CHECK_SLICE(expect_reply(rig, fd, &in, false).body, SLICE("PUT /a?|hi"));
    buf_clear(&in);
    SEND(rig, fd, "PUT /a HTTP/1.1\r\n" H "Content-Length: 99999999999\r\nExpect: 100-continue\r\n\r\n");
    CHECK_EQ(expect_reply(rig, fd, &in, false).status, 413);
    buf_clear(&in);
    expect_end(rig, fd);
    fd = dial(rig);
    SEND(rig, fd, "PUT /a HTTP/1.1\r\n" H "Content-Length: 2\r\nExpect: magic\r\n\r\n");
    expect_status(rig, fd, 417);
    fd = dial(rig);
    SEND(rig, fd, "PUT /a HTTP/1.1\r\n" H "Content-Length: 2\r\nExpect: 100-continue\r\n\r\nhi");
    EXPECT(rig, fd, "PUT /a?|hi");
    buf_fini(&in);
    rig_free(rig);
}


TEST(test_a_framing_error_is_answered_once_and_ends_the_connection)
{
    struct rig *rig = rig_new(NULL);
    static const char *const cases[] = {
        "400 GET / HTTP/1.1\n" H "\n",
        "400 GET http://x/ HTTP/1.1\r\n" H "\r\n",
        "400 GET / HTTP/1.1\r\n\r\n",
        "400 PUT / HTTP/1.1\r\n" H "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        "400 PUT / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
        "400 PUT / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n1\r\naa\r\n0\r\n\r\n",
        "501 PUT / HTTP/1.1\r\n" H "Transfer-Encoding: gzip\r\n\r\n",
        "501 TRACE / HTTP/1.1\r\n" H "\r\n",
        "505 GET / HTTP/2.0\r\n" H "\r\n",
        "413 PUT / HTTP/1.1\r\n" H "Content-Length: 8388609\r\n\r\n",
        "413 PUT / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n800001\r\n",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf in = {0};
        int fd = dial(rig);
        send_all(rig, fd, slice_from(cases[i] + 4));
        try_send(rig, fd, SLICE(PING));
        struct reply r = expect_reply(rig, fd, &in, false);
        CHECK_EQ(r.status, atoi(cases[i]));
        CHECK_SLICE(http_head_find(&r.head, SLICE("connection")), SLICE("close"));
        CHECK_EQ(r.size, buf_size(&in));
        expect_end(rig, fd);
        buf_fini(&in);
    }
    CHECK_EQ(rig_stats(rig).requests, 0);
    CHECK_EQ(rig_stats(rig).bad_requests, sizeof cases / sizeof *cases);
    rig_free(rig);
}

TEST(test_http_1_0_and_connection_close_are_answered_and_closed)
{
    struct rig *rig = rig_new(NULL);
    static const char *const cases[] = {
        "GET /a HTTP/1.0\r\n\r\n",
        "GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        "GET /a HTTP/1.1\r\n" H "Connection: close\r\n\r\n",
        "GET /close HTTP/1.1\r\n" H "\r\n",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf in = {0};
        int fd = dial(rig);
        send_all(rig, fd, slice_from(cases[i]));
        struct reply r = expect_reply(rig, fd, &in, false);
        CHECK_SLICE(http_head_find(&r.head, SLICE("connection")), SLICE("close"));
        expect_end(rig, fd);
        buf_fini(&in);
    }
    RIG_UNTIL(rig, rig_stats(rig).connections == 0);
    rig_free(rig);
}

TEST(test_draining_closes_the_idle_and_answers_what_is_in_flight)
{
    struct rig *rig = rig_new(NULL);
    struct buf in = {0};
    int idle = dial(rig), parked = dial(rig), unread = dial(rig);
    SEND(rig, idle, PING);
    EXPECT(rig, idle, "GET /ping?|");
    SEND(rig, parked, "GET /park HTTP/1.1\r\n" H "\r\n");
    RIG_UNTIL(rig, rig->parked_count == 1 && rig_stats(rig).connections == 3);
    SEND(rig, unread, PING);  /* in the server's socket, not yet read */
    http_drain(rig->http);
    rig_turn(rig);
    expect_end(rig, idle);
    struct reply r = expect_reply(rig, unread, &in, false);
    CHECK_SLICE(http_head_find(&r.head, SLICE("connection")), SLICE("close"));
    buf_clear(&in);
    expect_end(rig, unread);
    CHECK(!http_drained(rig->http));
    answer_parked(rig, SLICE("done"));
    r = expect_reply(rig, parked, &in, false);
    CHECK_SLICE(r.body, SLICE("done"));
    CHECK_SLICE(http_head_find(&r.head, SLICE("connection")), SLICE("close"));
    expect_end(rig, parked);
    RIG_UNTIL(rig, http_drained(rig->http));
    buf_fini(&in);
    rig_free(rig);
}

TEST(test_a_connection_whose_answer_was_made_before_draining_is_closed_after_it)
{
    struct rig *rig = rig_new(NULL);
    int fd = dial(rig);
    SEND(rig, fd, "GET /park HTTP/1.1\r\n" H "\r\n");
    RIG_UNTIL(rig, rig->parked_count == 1);
    uint64_t began = clock_ns();
    http_answer(rig->parked[0], &rig_ok, SLICE("done"));
    http_drain(rig->http);
    EXPECT(rig, fd, "done");
    RIG_UNTIL(rig, http_drained(rig->http));
    CHECK(clock_ns() - began < 5 * NS_PER_S);  /* not at the idle deadline */
    expect_end(rig, fd);
    rig_free(rig);
}

TEST(test_requests_are_counted_by_route_and_class)
{
    struct rig *rig = rig_new(NULL);
    int fd = dial(rig);
    rig->route = http_route(rig->http, SLICE("GET /ping"));
    CHECK_EQ(http_route(rig->http, SLICE("GET /ping")), rig->route);
    for (int i = 0; i < 300; i++) {
        char name[24];
        snprintf(name, sizeof name, "GET /%d", i);
        http_route(rig->http, slice_from(name));
    }
    CHECK_EQ(http_route(rig->http, SLICE("GET /one-too-many")), 0);
    SEND(rig, fd, PING);
    EXPECT(rig, fd, "GET /ping?|");
    SEND(rig, fd, "nonsense\r\n\r\n");
    expect_status(rig, fd, 400);
    struct http_stats s = rig_stats(rig);
    CHECK_EQ(s.route_count, 256);
    CHECK_SLICE(s.routes[rig->route].pattern, SLICE("GET /ping"));
    CHECK_EQ(s.routes[rig->route].by_class[2], 1);
    CHECK_EQ(s.routes[rig->route].latency.count, 1);
    CHECK_EQ(s.routes[0].by_class[4], 1);
    rig_free(rig);
}

TEST(test_an_ipv6_client_is_served_and_named)
{
    struct rig *rig = rig_new(NULL);
    uint16_t port = 0;
    if (http_listen(rig->http, SLICE("[::1]:0"), &port) == -EADDRNOTAVAIL)
        return;  /* no IPv6 on this machine */
    struct sockaddr_in6 at = {.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_EQ(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
    SEND(rig, fd, "GET /park HTTP/1.1\r\n" H "\r\n");
    RIG_UNTIL(rig, rig->parked_count == 1);
    CHECK(slice_starts(rig->parked[0]->peer, SLICE("[::1]:")));
    rig_free(rig);
}

TEST(test_an_address_that_cannot_be_listened_on_is_an_error)
{
    struct rig *rig = rig_new(NULL);
    static const char *const bad[] = {"", "8080", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536", "127.0.0.1:-1"};
    uint16_t port = 7;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_EQ(http_listen(rig->http, slice_from(bad[i]), &port), -EINVAL);
    char taken[32];
    snprintf(taken, sizeof taken, "127.0.0.1:%u", rig->port);
    CHECK_EQ(http_listen(rig->http, slice_from(taken), &port), -EADDRINUSE);
    CHECK_EQ(port, 7);
    rig_free(rig);
}

TEST(test_a_header_that_could_split_an_answer_is_not_fit)
{
    CHECK(http_header_ok(SLICE("Lignum-Key"), SLICE("a\tb \xc3\xa9")));
    CHECK(http_header_ok(SLICE("A"), SLICE("")));
    CHECK(!http_header_ok(SLICE(""), SLICE("a")));
    CHECK(!http_header_ok(SLICE("A:"), SLICE("a")));
    CHECK(!http_header_ok(SLICE("A "), SLICE("a")));
    CHECK(!http_header_ok(SLICE("A"), SLICE("a\r\nB: c")));
    CHECK(!http_header_ok(SLICE("A"), SLICE("a\0")));
    CHECK(!http_header_ok(SLICE("A"), SLICE("a\nb")));
}
