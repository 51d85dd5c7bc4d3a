#include "net/frame.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/mem.h"
#include "unit/unit.h"

/* A stream at one end of a socket pair; the test holds the other end. */
struct fixture {
    struct loop loop;
    struct frame_stream *stream;
    int fd, peer;
    unsigned frames, drained, closed;
    struct buf seen;                 /* "type:payload\n" of each short frame */
    size_t longest;
    bool (*enough)(struct fixture *f);
};

static void note_frame(void *arg, unsigned char type, slice payload)
{
    struct fixture *f = arg;
    f->frames++;
    if (payload.n > f->longest)
        f->longest = payload.n;
    if (payload.n < 100)
        buf_addf(&f->seen, "%c:%.*s\n", type, SLICE_ARGS(payload));
}

static void note_drained(void *arg)
{
    ((struct fixture *)arg)->drained++;
}

static void note_closed(void *arg)
{
    struct fixture *f = arg;
    f->closed++;
    frame_stream_free(f->stream);
    f->stream = NULL;
}

static struct fixture *fixture_new(void)
{
    static const struct frame_events events = {note_frame, note_drained, note_closed};
    struct fixture *f = MEM_NEW(struct fixture);
    int fds[2];
    CHECK_EQ(loop_init(&f->loop), 0);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    CHECK_EQ(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    f->fd = fds[0];
    f->peer = fds[1];
    f->stream = frame_stream_new(&f->loop, f->fd, &events, f);
    return f;
}

static void fixture_free(struct fixture *f)
{
    if (f->stream)
        frame_stream_free(f->stream);
    loop_fini(&f->loop);
    close(f->peer);
    buf_fini(&f->seen);
    mem_free(f);
}

static void turn(void *arg)
{
    struct fixture *f = arg;
    if (f->enough(f))
        loop_stop(&f->loop);
}

static void run_until(struct fixture *f, bool (*enough)(struct fixture *f))
{
    f->enough = enough;
    loop_again(&f->loop);
    loop_run(&f->loop, turn, f);
}

static bool is_closed(struct fixture *f)
{
    return f->closed > 0;
}


static bool has_taken_all(struct fixture *f)
{
    int waiting;
    CHECK_EQ(ioctl(f->fd, FIONREAD, &waiting), 0);
    return waiting == 0;
}

static void put(struct fixture *f, const char *bytes, size_t n)
{
    CHECK_EQ(write(f->peer, bytes, n), (ssize_t)n);
}

/* Reads at the peer what is there, without waiting. */
static size_t take_some(struct fixture *f)
{
    static char bytes[64 * KIB];
    ssize_t n = recv(f->peer, bytes, sizeof bytes, MSG_DONTWAIT);
    return n < 0 ? 0 : (size_t)n;
}

static slice big_payload(void)
{
    static char bytes[FRAME_SIZE_MAX];
    memset(bytes, 'x', sizeof bytes);
    return slice_of(bytes, sizeof bytes);
}

TEST(test_a_frame_arrives_whole_when_it_is_sent_byte_by_byte)
{
    static const char bytes[] = "\5\0\0\0Lhello\0\0\0\0I";
    struct fixture *f = fixture_new();
    for (size_t i = 0; i + 1 < sizeof bytes; i++) {
        CHECK_EQ(f->frames, i >= 10 ? 1 : 0);
        put(f, bytes + i, 1);
        run_until(f, has_taken_all);
    }
    CHECK_SLICE(buf_slice(&f->seen), SLICE("L:hello\nI:\n"));
    fixture_free(f);
}

TEST(test_frames_sent_at_once_arrive_in_order)
{
    static const char bytes[] = "\1\0\0\0La\1\0\0\0Lb\1\0\0\0Lc";
    struct fixture *f = fixture_new();
    put(f, bytes, sizeof bytes - 1);
    run_until(f, has_taken_all);
    CHECK_SLICE(buf_slice(&f->seen), SLICE("L:a\nL:b\nL:c\n"));
    fixture_free(f);
}

TEST(test_a_frame_above_the_limit_closes_the_stream_before_its_payload)
{
    static const char head[] = {1, 0, 16, 0, 'L'};   /* FRAME_SIZE_MAX + 1 */
    struct fixture *f = fixture_new();
    put(f, head, sizeof head);
    run_until(f, is_closed);
    CHECK_EQ(f->frames, 0);
    fixture_free(f);
}

TEST(test_a_frame_of_exactly_the_limit_passes_both_ways)
{
    struct fixture *f = fixture_new();
    slice big = big_payload();
    pid_t child = unit_fork();
    if (child == 0) {
        struct buf back = {0};
        unsigned char type;
        close(f->fd);
        CHECK_EQ(frame_write(f->peer, 'L', big), 0);
        CHECK_EQ(frame_read(f->peer, &type, &back), 0);
        CHECK_EQ(type, 'R');
        CHECK_SLICE(buf_slice(&back), big);
        _exit(0);
    }
    close(f->peer);
    f->peer = -1;
    frame_send(f->stream, 'R', big);
    run_until(f, is_closed);
    CHECK_EQ(f->frames, 1);
    CHECK_EQ(f->longest, FRAME_SIZE_MAX);
    unit_check_died(__FILE__, __LINE__, "the peer", child, 0);
    fixture_free(f);
}

TEST(test_the_end_of_the_peer_closes_once)
{
    struct fixture *f = fixture_new();
    put(f, "\1\0\0\0La\1\0", 8);
    CHECK_EQ(shutdown(f->peer, SHUT_WR), 0);
    run_until(f, is_closed);
    CHECK_EQ(f->closed, 1);
    CHECK_SLICE(buf_slice(&f->seen), SLICE("L:a\n"));
    fixture_free(f);
}

TEST(test_what_the_peer_does_not_read_waits_and_drains)
{
    struct fixture *f = fixture_new();
    slice big = big_payload();
    size_t taken = 0;
    frame_send(f->stream, 'O', big);
    frame_send(f->stream, 'O', big);
    CHECK(frame_unsent(f->stream) > FRAME_SIZE_MAX);
    f->enough = has_taken_all;
    while (f->drained == 0) {
        taken += take_some(f);
        run_until(f, has_taken_all);
    }
    for (size_t n; (n = take_some(f)) > 0;)
        taken += n;
    CHECK_EQ(frame_unsent(f->stream), 0);
    CHECK_EQ(taken, 2 * (5 + big.n));
    CHECK_EQ(f->drained, 1);
    fixture_free(f);
}

TEST(test_a_peer_that_never_reads_is_cut_at_the_bound)
{
    struct fixture *f = fixture_new();
    slice big = big_payload();
    size_t most = 0;
    for (int i = 0; i < 100; i++) {
        frame_send(f->stream, 'O', big);
        if (frame_unsent(f->stream) > most)
            most = frame_unsent(f->stream);
    }
    CHECK(most <= FRAME_UNSENT_MAX);
    CHECK_EQ(f->closed, 0);          /* never from inside frame_send */
    run_until(f, is_closed);
    CHECK_EQ(f->closed, 1);
    CHECK_EQ(f->drained, 0);
    fixture_free(f);
}

TEST(test_sending_to_a_gone_peer_closes_from_the_loop)
{
    struct fixture *f = fixture_new();
    close(f->peer);
    frame_send(f->stream, 'O', SLICE("a"));
    frame_send(f->stream, 'O', SLICE("b"));
    CHECK_EQ(f->closed, 0);
    run_until(f, is_closed);
    f->peer = -1;
    fixture_free(f);
}

TEST(test_blocking_read_tells_the_end_from_a_bad_frame)
{
    int fds[2];
    unsigned char type = 0;
    struct buf payload = {0};
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    CHECK_EQ(write(fds[1], "\2\0\0\0Rok\377\377\377\377R", 12), 12);
    CHECK_EQ(frame_read(fds[0], &type, &payload), 0);
    CHECK_EQ(type, 'R');
    CHECK_SLICE(buf_slice(&payload), SLICE("ok"));
    CHECK_EQ(frame_read(fds[0], &type, &payload), -EPROTO);
    close(fds[1]);
    CHECK_EQ(frame_read(fds[0], &type, &payload), -EPIPE);
    CHECK_EQ(frame_write(fds[0], 'L', SLICE("x")), -EPIPE);
    buf_fini(&payload);
}
