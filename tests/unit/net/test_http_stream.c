/*
 * Answers of unknown length, and clients that leave before their answer.
 */
#include <event2/event.h>

#include "unit/http_rig.h"

#define H "Host: x\r\n"
#define PING "GET /ping HTTP/1.1\r\n" H "\r\n"

static void count_call(void *arg)
{
    ++*(int *)arg;
}

TEST(test_a_streamed_answer_comes_in_chunks_and_says_when_it_has_drained)
{
    struct rig *rig = rig_new(NULL);
    struct buf in = {0};
    int fd = dial(rig), drained = 0;
    SEND(rig, fd, "GET /stream HTTP/1.1\r\n" H "\r\n");
    RIG_UNTIL(rig, rig->parked_count == 1);
    struct http_request *r = rig->parked[0];
    CHECK(http_chunk(r, SLICE("hello")) >= 5);
    http_on_drained(r, count_call, &drained);
    loop_again(&rig->loop);
    RIG_UNTIL(rig, drained == 1);
    CHECK_EQ(http_chunk(r, SLICE("")), 0);
    http_chunk(r, SLICE("0123456789abcdef"));
    http_end(r);
    loop_again(&rig->loop);
    SEND(rig, fd, PING);
    while (!memmem(in.data ? in.data : "", buf_size(&in), "/ping", 5))
        CHECK(receive(rig, fd, &in) > 0);
    char *body = memmem(in.data, buf_size(&in), "\r\n\r\n", 4);
    CHECK(memmem(in.data, buf_size(&in), "Transfer-Encoding: chunked\r\n", 28));
    CHECK(slice_starts(slice_from(body), SLICE("\r\n\r\n5\r\nhello\r\n10\r\n0123456789abcdef\r\n0\r\n\r\nHTTP/1.1 ")));
    CHECK_EQ(drained, 1);
    buf_fini(&in);
    rig_free(rig);
}

TEST(test_a_streamed_answer_to_http_1_0_is_plain_and_ends_with_the_connection)
{
    struct rig *rig = rig_new(NULL);
    struct buf in = {0};
    int fd = dial(rig);
    SEND(rig, fd, "GET /stream HTTP/1.0\r\n\r\n");
    RIG_UNTIL(rig, rig->parked_count == 1);
    http_chunk(rig->parked[0], SLICE("hello"));
    http_end(rig->parked[0]);
    loop_again(&rig->loop);
    while (receive(rig, fd, &in) > 0)
        ;
    buf_add_char(&in, '\0');
    CHECK(strstr(in.data, "\r\n\r\nhello"));
    CHECK(!strstr(in.data, "chunked"));
    buf_fini(&in);
    rig_free(rig);
}

/* A source of `pieces` pieces, each of `size` bytes; the last is empty when `size` is odd. */
struct source {
    int pieces, size, rendered, freed;
};

static bool source_more(void *arg, struct buf *out)
{
    struct source *s = arg;
    bool last = ++s->rendered == s->pieces;
    for (int i = 0; i < s->size && !(last && s->size % 2); i++)
        buf_add_char(out, (char)('a' + s->rendered % 26));
    return !last;
}

static void source_free(void *arg)
{
    ((struct source *)arg)->freed++;
}

static struct http_source source_of(struct source *s)
{
    return (struct http_source){source_more, source_free, s, 1000};
}

TEST(test_an_answer_in_pieces_comes_whole_and_keeps_the_connection)
{
    static const struct {
        const char *request, *body;
        struct source source;
    } cases[] = {
        {"GET /park HTTP/1.1\r\n" H "\r\n", "00000002\r\nbb\r\n00000002\r\ncc\r\n00000002\r\ndd\r\n0\r\n\r\nHTTP/1.1 ",
         {3, 2, 0, 0}},
        {"GET /park HTTP/1.1\r\n" H "\r\n", "00000001\r\nb\r\n0\r\n\r\nHTTP/1.1 ", {2, 1, 0, 0}},
        {"HEAD /park HTTP/1.1\r\n" H "\r\n", "HTTP/1.1 ", {2, 2, 0, 0}},
        {"GET /park HTTP/1.0\r\n\r\n", "bbcc", {2, 2, 0, 0}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rig *rig = rig_new(NULL);
        struct buf in = {0};
        struct source s = cases[i].source;
        struct http_source source = source_of(&s);
        int fd = dial(rig);
        send_all(rig, fd, slice_from(cases[i].request));
        RIG_UNTIL(rig, rig->parked_count == 1);
        http_answer_source(rig->parked[0], &rig_ok, &source);
        loop_again(&rig->loop);
        RIG_UNTIL(rig, s.freed == 1);
        if (!strstr(cases[i].request, "1.0"))
            SEND(rig, fd, PING);
        while (!memmem(in.data ? in.data : "", buf_size(&in), "/ping", 5) && receive(rig, fd, &in) > 0)
            ;
        buf_add_char(&in, '\0');
        CHECK(slice_starts(slice_from(strstr(in.data, "\r\n\r\n") + 4), slice_from(cases[i].body)));
        CHECK_EQ(s.rendered, strncmp(cases[i].request, "HEAD", 4) == 0 ? 0 : s.pieces);
        CHECK_EQ(s.freed, 1);
        buf_fini(&in);
        rig_free(rig);
    }
}

TEST(test_an_answer_in_pieces_renders_no_further_than_its_client_reads)
{
    struct rig *rig = rig_new(NULL);
    struct source s = {.pieces = 1000, .size = 100 * 1024}, gone = s;
    struct http_source source = source_of(&s), of_gone = source_of(&gone);
    int fd = dial(rig), other = dial(rig);
    SEND(rig, fd, "GET /park HTTP/1.1\r\n" H "\r\n");
    SEND(rig, other, "GET /park HTTP/1.1\r\n" H "\r\n");
    RIG_UNTIL(rig, rig->parked_count == 2);
    http_answer_source(rig->parked[0], &rig_ok, &source);
    loop_again(&rig->loop);
    SEND(rig, dial(rig), PING);
    RIG_UNTIL(rig, s.rendered > 1);
    for (int i = 0; i < 100; i++) {
        loop_again(&rig->loop);
        rig_run(rig);
    }
    CHECK(s.rendered < 200);
    CHECK_EQ(s.freed, 0);
    http_answer_source(rig->parked[1], &rig_ok, &of_gone);
    close(fd);
    close(other);
    RIG_UNTIL(rig, s.freed == 1 && gone.freed == 1);
    rig_free(rig);
}

static void reset(int fd)
{
    struct linger now = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(fd);
}

TEST(test_a_reset_client_is_gone_its_waiter_told_and_its_answer_dropped)
{
    struct rig *rig = rig_new(NULL);
    int drained = 0;
    int fd = dial(rig), parked = dial(rig);
    SEND(rig, fd, "GET /stream HTTP/1.1\r\n" H "\r\n");
    SEND(rig, parked, "GET /park HTTP/1.1\r\n" H "A: b\r\n\r\n");
    RIG_UNTIL(rig, rig->parked_count == 2);
    bool first = slice_eq(rig->parked[0]->head.path, SLICE("/stream"));
    struct http_request *stream = rig->parked[!first], *park = rig->parked[first];
    struct buf much = {0};
    pattern_add(&much, 8 * MIB);
    http_chunk(stream, buf_slice(&much));
    http_on_drained(stream, count_call, &drained);
    loop_again(&rig->loop);
    rig_run(rig);
    CHECK_EQ(drained, 0);
    CHECK(!http_gone(stream));
    reset(fd);
    reset(parked);
    RIG_UNTIL(rig, http_gone(stream) && http_gone(park));
    CHECK_EQ(drained, 1);
    CHECK_EQ(rig_stats(rig).connections, 0);
    CHECK_EQ(http_chunk(stream, SLICE("x")), 0);
    CHECK_SLICE(http_head_find(&park->head, SLICE("a")), SLICE("b"));
    http_end(stream);
    http_answer(park, &rig_ok, SLICE("nobody hears this"));
    CHECK_EQ(rig_stats(rig).requests_in_flight, 0);
    http_drain(rig->http);
    CHECK(http_drained(rig->http));
    buf_fini(&much);
    rig_free(rig);
}

/* The socket's error is found by the write, and not by the read that a callback does. */
TEST(test_a_client_whose_reset_is_found_by_sending_has_left)
{
    struct rig *rig = rig_new(NULL);
    int left = 0, fd = dial(rig);
    SEND(rig, fd, "GET /stream HTTP/1.1\r\n" H "\r\n");
    while (rig->parked_count == 0) {
        struct http_request *r;
        event_base_loop(rig->loop.base, EVLOOP_ONCE);
        while ((r = http_next(rig->http)))
            handle(rig, r);
    }
    http_on_left(rig->parked[0], count_call, &left);
    reset(fd);
    http_flush(rig->http);
    CHECK(http_gone(rig->parked[0]));
    CHECK_EQ(left, 1);
    http_end(rig->parked[0]);
    rig_free(rig);
}

TEST(test_a_client_that_has_sent_its_last_byte_still_gets_its_answers)
{
    struct rig *rig = rig_new(NULL);
    struct buf in = {0};
    int fd = dial(rig);
    SEND(rig, fd, "GET /park HTTP/1.1\r\n" H "\r\n" PING);
    shutdown(fd, SHUT_WR);
    RIG_UNTIL(rig, rig->parked_count == 1);
    answer_parked(rig, SLICE("late"));
    struct reply r = expect_reply(rig, fd, &in, false);
    CHECK_SLICE(r.body, SLICE("late"));
    buf_drop(&in, r.size);
    CHECK_SLICE(expect_reply(rig, fd, &in, false).body, SLICE("GET /ping?|"));
    expect_end(rig, fd);
    buf_fini(&in);
    rig_free(rig);
}

TEST(test_an_aborted_stream_ends_without_its_last_chunk)
{
    struct rig *rig = rig_new(NULL);
    struct buf in = {0};
    int fd = dial(rig);
    SEND(rig, fd, "GET /stream HTTP/1.1\r\n" H "\r\n");
    RIG_UNTIL(rig, rig->parked_count == 1);
    http_chunk(rig->parked[0], SLICE("hello"));
    http_abort(rig->parked[0]);
    loop_again(&rig->loop);
    while (receive(rig, fd, &in) > 0)
        ;
    buf_add_char(&in, '\0');
    CHECK(strstr(in.data, "\r\n\r\n5\r\nhello\r\n"));
    CHECK(!strstr(in.data, "\r\n0\r\n"));
    CHECK_EQ(rig_stats(rig).connections, 0);
    CHECK_EQ(rig_stats(rig).requests_in_flight, 0);
    buf_fini(&in);
    rig_free(rig);
}
