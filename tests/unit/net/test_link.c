/* A link between a loop and a socket that the test holds: frames in and out, bounds, backpressure. */
#include "unit/link_rig.h"

#include "net/frame.h"

/* ---- in ---- */

TEST(test_a_frame_of_any_size_is_taken_byte_by_byte)
{
    static const size_t sizes[] = {0, 1, 2, 4, 5, 6, 255, 256, 257, 300};
    struct fixture f;
    fixture_open(&f);
    for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
        size_t n = sizes[s];
        char *bytes = pattern(n), head[HEAD] = {(char)n, (char)(n >> 8), 0, 0, 'x'};
        for (size_t i = 0; i < HEAD + n; i++) {
            run_until(&f, at_once);
            CHECK(!has_frame(&f));
            put(&f, i < HEAD ? &head[i] : &bytes[i - HEAD], 1);
        }
        run_until(&f, has_frame);
        CHECK_EQ(f.type, 'x');
        CHECK_SLICE(f.payload, slice_of(bytes, n));
        CHECK(!has_frame(&f));
        mem_free(bytes);
    }
    fixture_close(&f);
}

TEST(test_a_frame_that_is_put_back_is_taken_again)
{
    struct fixture f;
    fixture_open(&f);
    put(&f, "\1\0\0\0ax\1\0\0\0by", 12);
    run_until(&f, has_frame);
    link_put_back(f.link);
    CHECK(has_frame(&f));
    CHECK_EQ(f.type, 'a');
    CHECK_SLICE(f.payload, SLICE("x"));
    CHECK(has_frame(&f));
    CHECK_EQ(f.type, 'b');
    CHECK(!has_frame(&f));
    fixture_close(&f);
}

/* Its frame has arrived, so no event will announce it. */
TEST(test_a_peer_that_reads_again_is_listened_to_at_once)
{
    struct fixture f;
    char *bytes = pattern(MIB);
    fixture_open(&f);
    while (link_listens(f.link))
        send_frame(f.link, 'x', slice_of(bytes, MIB));
    send_frame(f.link, 'x', slice_of(bytes, MIB));     /* for the socket's own buffer */
    link_flush(f.link);
    put_head(&f, 0, 'a');
    run_until(&f, at_once);
    run_until(&f, at_once);
    CHECK(!link_listens(f.link));
    f.loop.again = false;
    while (link_unsent(f.link) >= LINK_ANSWERS_MAX) {
        CHECK(!f.loop.again);
        CHECK(read(f.peer, bytes, MIB) > 0);
        link_flush(f.link);
    }
    CHECK(f.loop.again);
    CHECK(link_listens(f.link));
    CHECK(has_frame(&f));
    CHECK_EQ(f.type, 'a');
    mem_free(bytes);
    fixture_close(&f);
}

/* Two frames, divided at every place. */
TEST(test_frames_are_taken_wherever_reads_divide_them)
{
    static const char bytes[] = "\3\0\0\0aone\0\0\0\0b\5\0\0\0cthree";
    size_t n = sizeof(bytes) - 1;
    for (size_t cut = 1; cut < n; cut++) {
        struct fixture f;
        fixture_open(&f);
        put(&f, bytes, cut);
        run_until(&f, at_once);
        struct buf seen = {0};
        while (has_frame(&f))
            buf_addf(&seen, "%c%.*s ", f.type, SLICE_ARGS(f.payload));
        put(&f, bytes + cut, n - cut);
        while (buf_size(&seen) < strlen("aone b cthree ")) {
            run_until(&f, has_frame);
            buf_addf(&seen, "%c%.*s ", f.type, SLICE_ARGS(f.payload));
        }
        CHECK_SLICE(buf_slice(&seen), SLICE("aone b cthree "));
        buf_fini(&seen);
        fixture_close(&f);
    }
}

TEST(test_a_frame_too_large_for_a_greeting_ends_the_link)
{
    struct fixture f;
    char *bytes = pattern(LINK_GREETING_MAX);
    fixture_open(&f);
    put_head(&f, LINK_GREETING_MAX, 'a');
    put(&f, bytes, LINK_GREETING_MAX);
    run_until(&f, has_frame);
    CHECK_SLICE(f.payload, slice_of(bytes, LINK_GREETING_MAX));
    put_head(&f, LINK_GREETING_MAX + 1, 'a');
    run_until(&f, no_frame_then_end);    /* by its head alone, before its payload arrives */
    CHECK_EQ(link_error(f.link), -EPROTO);
    CHECK(!has_frame(&f));
    mem_free(bytes);
    fixture_close(&f);
}

/* Sends a frame of `size` bytes from the peer, as the socket takes it, until the link has received it whole. */
struct sender {
    struct fixture f;
    const char *bytes;
    size_t size, sent;
};

static bool sends_and_takes(struct fixture *f)
{
    struct sender *s = (struct sender *)f;
    if (s->sent < s->size) {
        ssize_t n = send(f->peer, s->bytes + s->sent, s->size - s->sent, MSG_DONTWAIT);
        s->sent += n > 0 ? (size_t)n : 0;
        loop_again(&f->loop);
    }
    return has_frame(f);
}

TEST(test_a_trusted_peer_may_send_a_largest_frame_and_none_larger)
{
    struct sender s = {.size = LINK_FRAME_MAX};
    fixture_open(&s.f);
    link_allow(s.f.link, LINK_FRAME_MAX);
    s.bytes = pattern(LINK_FRAME_MAX);
    put_head(&s.f, LINK_FRAME_MAX, 'D');
    run_until(&s.f, sends_and_takes);
    CHECK_SLICE(s.f.payload, slice_of(s.bytes, LINK_FRAME_MAX));
    put_head(&s.f, LINK_FRAME_MAX + 1, 'D');
    run_until(&s.f, no_frame_then_end);
    CHECK_EQ(link_error(s.f.link), -EPROTO);
    mem_free((char *)(uintptr_t)s.bytes);
    fixture_close(&s.f);
}

TEST(test_the_owner_sets_the_bound_and_a_blocking_peer_gets_a_frame_of_that_size_back)
{
    struct fixture f;
    slice big = {pattern(CONSOLE_FRAME_MAX), CONSOLE_FRAME_MAX};
    fixture_open(&f);
    link_allow(f.link, CONSOLE_FRAME_MAX);
    pid_t child = unit_fork();
    if (child == 0) {
        struct buf back = {0};
        unsigned char type;
        close(f.fd);
        CHECK_EQ(frame_write(f.peer, 'L', big), 0);
        CHECK_EQ(frame_read(f.peer, CONSOLE_FRAME_MAX, &type, &back), 0);
        CHECK_EQ(type, 'R');
        CHECK_SLICE(buf_slice(&back), big);
        frame_write(f.peer, 'L', slice_of(big.p, 1));
        char head[HEAD] = {1, 0, 16, 0, 'L'};   /* one byte more */
        CHECK_EQ(send(f.peer, head, sizeof head, MSG_NOSIGNAL), HEAD);
        frame_read(f.peer, CONSOLE_FRAME_MAX, &type, &back);   /* until the link is closed */
        _exit(0);
    }
    close(f.peer);
    f.peer = -1;
    run_until(&f, has_frame);
    CHECK_SLICE(f.payload, big);
    buf_add_slice(link_begin(f.link, 'R'), big);
    link_end(f.link);
    link_flush(f.link);
    run_until(&f, has_frame);
    CHECK_EQ(f.payload.n, 1);
    run_until(&f, no_frame_then_end);
    CHECK_EQ(link_error(f.link), -EPROTO);
    fixture_close(&f);
    unit_check_died(__FILE__, __LINE__, "the peer", child, 0);
    mem_free((char *)(uintptr_t)big.p);
}

/* Freeing buffers keeps a frame that was taken, one that has half arrived, and bytes that are not sent yet. */
TEST(test_a_link_at_rest_keeps_what_is_on_its_way)
{
    struct fixture f;
    fixture_open(&f);
    link_allow(f.link, LINK_FRAME_MAX);
    put_head(&f, 5, 'a');
    put(&f, "first", 5);
    put_head(&f, 6, 'b');
    put(&f, "sec", 3);
    run_until(&f, has_frame);
    buf_add_slice(link_begin(f.link, 'c'), SLICE("written"));
    link_end(f.link);
    for (int i = 0; i < 3; i++)
        link_rest(f.link);
    CHECK_SLICE(f.payload, SLICE("first"));
    put(&f, "ond", 3);
    run_until(&f, has_frame);
    CHECK_SLICE(f.payload, SLICE("second"));
    for (int i = 0; i < 3; i++)
        link_rest(f.link);
    CHECK_SLICE(f.payload, SLICE("second"));
    link_flush(f.link);
    CHECK_EQ(link_unsent(f.link), 0);
    fixture_close(&f);
}

/* A hostile size must neither reserve memory nor overflow. */
TEST(test_the_largest_size_that_can_be_written_is_refused)
{
    struct fixture f;
    fixture_open(&f);
    link_allow(f.link, LINK_FRAME_MAX);
    put(&f, "\xff\xff\xff\xffx", HEAD);
    run_until(&f, no_frame_then_end);
    CHECK_EQ(link_error(f.link), -EPROTO);
    fixture_close(&f);
}

static bool holds_back(struct fixture *f)
{
    static char bytes[64 * KIB];
    struct sender *s = (struct sender *)f;
    ssize_t n = send(f->peer, bytes, sizeof bytes, MSG_DONTWAIT);
    s->sent += n > 0 ? (size_t)n : 0;
    s->size = n > 0 ? 0 : s->size + 1;   /* refusals in a row */
    loop_again(&f->loop);
    return s->size > 100;
}

TEST(test_what_nobody_takes_is_not_read_without_end)
{
    struct sender s = {.size = 0};
    fixture_open(&s.f);
    run_until(&s.f, holds_back);
    CHECK(s.sent < 2 * MIB);             /* the socket's buffers, and one read beyond a largest greeting */
    fixture_close(&s.f);
}

/* Sends empty frames until the link stops reading. The number that went into it and the socket. */
static size_t fill_with_frames(struct fixture *f)
{
    static const char frames[64 * HEAD];
    size_t sent = 0;
    for (unsigned refused = 0; refused < 100; run_until(f, at_once)) {
        ssize_t n = send(f->peer, frames, sizeof frames, MSG_DONTWAIT);
        sent += n > 0 ? (size_t)n : 0;
        refused = n > 0 ? 0 : refused + 1;
    }
    return sent / HEAD;
}

/* When all frames of a full buffer are taken, reading goes on even if no part of another frame is left in it. */
TEST(test_a_link_that_was_held_back_reads_on_once_all_is_taken)
{
    struct fixture f;
    fixture_open(&f);
    size_t sent = fill_with_frames(&f), taken = 0;
    for (unsigned idle = 0; idle < 100 && taken < sent; idle++) {
        while (has_frame(&f))
            taken++;
        run_until(&f, at_once);
    }
    CHECK_EQ(taken, sent);
    fixture_close(&f);
}

TEST(test_frames_that_came_before_the_end_are_still_taken)
{
    struct fixture f;
    fixture_open(&f);
    put(&f, "\2\0\0\0aab\2\0\0\0bcd\2\0\0\0ce", 20);
    close(f.peer);
    f.peer = -1;
    run_until(&f, has_ended);
    CHECK_EQ(link_error(f.link), -EPIPE);
    CHECK(has_frame(&f));
    CHECK_SLICE(f.payload, SLICE("ab"));
    CHECK(has_frame(&f));
    CHECK_SLICE(f.payload, SLICE("cd"));
    CHECK(!has_frame(&f));               /* the third one is not whole */
    CHECK(!has_frame(&f));
    fixture_close(&f);
}

/* ---- out ---- */

TEST(test_nothing_goes_out_before_the_flush_and_then_all_at_once)
{
    struct fixture f;
    char got[64];
    fixture_open(&f);
    send_frame(f.link, 'a', SLICE("one"));
    send_frame(f.link, 'b', SLICE(""));
    send_frame(f.link, 'c', SLICE("three"));
    CHECK_EQ(recv(f.peer, got, sizeof got, MSG_DONTWAIT), -1);
    CHECK_EQ(link_unsent(f.link), 3 * HEAD + 8);
    link_flush(f.link);
    CHECK_EQ(link_unsent(f.link), 0);
    ssize_t n = recv(f.peer, got, sizeof got, MSG_DONTWAIT);
    CHECK_SLICE(slice_of(got, (size_t)n), SLICE("\3\0\0\0aone\0\0\0\0b\5\0\0\0cthree"));
    fixture_close(&f);
}

TEST(test_a_cancelled_frame_was_never_begun)
{
    struct fixture f;
    char got[64];
    fixture_open(&f);
    link_cancel((link_begin(f.link, 'x'), f.link));
    CHECK_EQ(link_unsent(f.link), 0);
    send_frame(f.link, 'a', SLICE("one"));
    buf_add_slice(link_begin(f.link, 'x'), SLICE("forget me"));
    link_cancel(f.link);
    send_frame(f.link, 'b', SLICE("two"));
    link_flush(f.link);
    ssize_t n = recv(f.peer, got, sizeof got, MSG_DONTWAIT);
    CHECK_SLICE(slice_of(got, (size_t)n), SLICE("\3\0\0\0aone\3\0\0\0btwo"));
    fixture_close(&f);
}

/* The start of the buffer moves as bytes are sent, while frames are added at its end. */
TEST(test_frames_keep_their_sizes_behind_a_send_that_was_cut_short)
{
    struct fixture f;
    char *big = pattern(300 * KIB);
    fixture_open(&f);
    send_frame(f.link, 'a', slice_of(big, 300 * KIB));
    send_frame(f.link, 'p', SLICE("pre"));   /* the buffer grows, and has room behind it then */
    link_flush(f.link);
    CHECK(link_unsent(f.link) > 0);
    send_frame(f.link, 'm', SLICE("mid"));   /* fits without moving what waits */
    buf_add_slice(link_begin(f.link, 'x'), SLICE("so would this"));
    link_cancel(f.link);
    send_frame(f.link, 'b', slice_of(big, 300 * KIB));
    buf_add_slice(link_begin(f.link, 'x'), slice_of(big, 300 * KIB));
    link_cancel(f.link);
    send_frame(f.link, 'c', SLICE("end"));
    struct buf got = {0};
    while (buf_size(&got) < 2 * (HEAD + 300 * KIB) + 3 * (HEAD + 3)) {
        run_until(&f, at_once);
        ssize_t n = recv(f.peer, buf_reserve(&got, MIB), MIB, MSG_DONTWAIT);
        got.end += n > 0 ? (size_t)n : 0;
    }
    CHECK_EQ(link_unsent(f.link), 0);
    slice s = buf_slice(&got);
    CHECK_SLICE(slice_of(s.p + HEAD, 300 * KIB), slice_of(big, 300 * KIB));
    s = slice_skip(s, HEAD + 300 * KIB);
    CHECK_SLICE(slice_of(s.p, 2 * (HEAD + 3)), SLICE("\3\0\0\0ppre\3\0\0\0mmid"));
    s = slice_skip(s, 2 * (HEAD + 3));
    CHECK_SLICE(slice_of(s.p, HEAD), SLICE("\0\xb0\4\0b"));
    CHECK_SLICE(slice_of(s.p + HEAD, 300 * KIB), slice_of(big, 300 * KIB));
    CHECK_SLICE(slice_skip(s, HEAD + 300 * KIB), SLICE("\3\0\0\0cend"));
    buf_fini(&got);
    mem_free(big);
    fixture_close(&f);
}

TEST(test_a_peer_that_never_reads_shows_in_unsent)
{
    struct fixture f;
    char *big = pattern(256 * KIB);
    fixture_open(&f);
    size_t sent = 0;
    while (link_unsent(f.link) < MIB) {
        send_frame(f.link, 'D', slice_of(big, 256 * KIB));
        sent += HEAD + 256 * KIB;
        link_flush(f.link);
        run_until(&f, at_once);
    }
    CHECK(link_unsent(f.link) <= MIB + HEAD + 256 * KIB);
    CHECK_EQ(link_state(f.link), LINK_OPEN);
    while (link_unsent(f.link) > 0) {    /* once it reads, the rest is sent without a flush */
        static char got[256 * KIB];
        ssize_t n = recv(f.peer, got, sizeof got, MSG_DONTWAIT);
        sent -= n > 0 ? (size_t)n : 0;
        run_until(&f, at_once);
    }
    CHECK(sent < MIB);
    mem_free(big);
    fixture_close(&f);
}

TEST(test_sending_to_a_peer_that_has_closed_ends_the_link_and_nothing_else)
{
    struct fixture f;
    fixture_open(&f);
    close(f.peer);
    f.peer = -1;
    send_frame(f.link, 'a', SLICE("one"));
    link_flush(f.link);
    CHECK_EQ(link_state(f.link), LINK_ENDED);
    CHECK_EQ(link_error(f.link), -EPIPE);
    send_frame(f.link, 'a', SLICE("two"));
    link_flush(f.link);                  /* has no effect */
    fixture_close(&f);
}

TEST(test_a_link_that_is_shut_sends_its_last_word)
{
    struct fixture f;
    char got[64];
    fixture_open(&f);
    send_frame(f.link, 'R', SLICE("go away"));
    link_shut(f.link);
    CHECK_EQ(link_state(f.link), LINK_ENDED);
    CHECK_EQ(read(f.peer, got, sizeof got), HEAD + 7);
    CHECK_EQ(read(f.peer, got, sizeof got), 0);
    fixture_close(&f);
}
