/* One session of the console between a script layer and a socket that the test holds. */
#include "console/session.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/frame.h"
#include "unit/host.h"
#include "unit/unit.h"

struct fixture {
    struct host host;
    struct session *session;    /* NULL once the client has gone */
    int peer;
    struct buf got;             /* what the peer has read */
    size_t taken;               /* bytes at the front of `got` that next_frame has handed out */
};

static void fixture_open(struct fixture *f, const char *code)
{
    int fds[2];
    *f = (struct fixture){.peer = -1};
    host_open(&f->host, 0);
    host_eval(&f->host, code);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    CHECK_EQ(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    CHECK_EQ(fcntl(fds[1], F_SETFL, O_NONBLOCK), 0);
    f->session = session_new(&(struct session_options){f->host.vm, &f->host.loop, fds[0], 1});
    f->peer = fds[1];
    loop_again(&f->host.loop);   /* as after the event that announced the client */
}

static void fixture_close(struct fixture *f)
{
    if (f->session != NULL)
        session_free(f->session);
    host_close(&f->host);
    if (f->peer >= 0)
        close(f->peer);
    buf_fini(&f->got);
}

/* The turn of core/main.c, as far as the console takes part. */
static void turn(void *arg)
{
    struct fixture *f = arg;
    if (f->session != NULL)
        session_receive(f->session);
    tasks_run(vm_tasks(f->host.vm));
    if (f->session != NULL && !session_send(f->session)) {
        session_free(f->session);
        f->session = NULL;
    }
    if (tasks_ready(vm_tasks(f->host.vm)))
        loop_again(&f->host.loop);
    loop_stop(&f->host.loop);
}

/* One iteration of the loop. */
static void step(struct fixture *f)
{
    loop_run(&f->host.loop, turn, f);
}

/* Waits for the next frame. The payload is valid until the next call. */
static unsigned char next_frame(struct fixture *f, slice *payload)
{
    buf_drop(&f->got, f->taken);
    f->taken = 0;
    for (;;) {
        slice got = buf_slice(&f->got);
        struct frame_head head = {0};
        if (got.n >= FRAME_HEAD_SIZE)
            head = frame_head_read(got.p);
        if (got.n >= FRAME_HEAD_SIZE + head.size && got.n > 0) {
            f->taken = FRAME_HEAD_SIZE + head.size;
            *payload = slice_of(got.p + FRAME_HEAD_SIZE, head.size);
            return head.type;
        }
        ssize_t n = recv(f->peer, buf_reserve(&f->got, MIB), MIB, 0);
        f->got.end += n > 0 ? (size_t)n : 0;
        if (n < 0)
            step(f);
    }
}

TEST(test_a_line_is_answered_and_what_it_prints_comes_first)
{
    struct fixture f;
    slice text;
    fixture_open(&f, "function EVAL(id, text, write) write('printed') return 'ok', text .. '!' end");
    CHECK_EQ(next_frame(&f, &text), 'H');
    CHECK(slice_starts(text, SLICE("Lignum ")));
    CHECK_EQ(frame_write(f.peer, 'L', SLICE("line")), 0);
    CHECK_EQ(next_frame(&f, &text), 'O');
    CHECK_SLICE(text, SLICE("printed"));
    CHECK_EQ(next_frame(&f, &text), 'R');
    CHECK_SLICE(text, SLICE("line!"));
    fixture_close(&f);
}

/* Names beyond a frame are left out; the frame holds whole names. */
TEST(test_completions_fill_one_frame_at_most)
{
    struct fixture f;
    slice text;
    fixture_open(&f, "function COMPLETE(id, text)\n"
                     "  local t = {} for i = 1, 2000 do t[i] = text:rep(250) .. i end return t\n"
                     "end");
    CHECK_EQ(next_frame(&f, &text), 'H');
    CHECK_EQ(frame_write(f.peer, 'C', SLICE("name")), 0);
    CHECK_EQ(next_frame(&f, &text), 'C');
    CHECK(text.n <= CONSOLE_FRAME_MAX);
    CHECK(text.n > CONSOLE_FRAME_MAX - 1010);
    CHECK_EQ(text.p[text.n - 1], '\n');
    fixture_close(&f);
}

/* Each line's answer is as large as a frame can be. The client sends lines and reads nothing, then reads all. */
TEST(test_a_client_that_does_not_read_is_not_listened_to_until_it_reads)
{
    enum { LINES = 40 };
    struct fixture f;
    slice text;
    fixture_open(&f, "RUN = 0 function EVAL() RUN = RUN + 1 return 'ok', ('x'):rep(2^20) end");
    CHECK_EQ(next_frame(&f, &text), 'H');
    int ran = 0;
    for (int i = 0; i < LINES; i++) {
        CHECK_EQ(frame_write(f.peer, 'L', SLICE("line")), 0);
        for (int k = 0; k < 5; k++) {
            loop_again(&f.host.loop);
            step(&f);
        }
    }
    lua_State *L = vm_state(f.host.vm);
    lua_getglobal(L, "RUN");
    ran = (int)lua_tointeger(L, -1);
    lua_pop(L, 1);
    CHECK(ran >= 4);
    CHECK(ran <= CONSOLE_UNSENT_MAX / CONSOLE_FRAME_MAX + 2);
    unsigned results = 0, refused = 0;
    for (int i = 0; i < LINES; i++) {
        unsigned char type = next_frame(&f, &text);
        results += type == 'R' && text.n == CONSOLE_FRAME_MAX;
        refused += type == 'E';
    }
    CHECK_EQ(results + refused, LINES);      /* a line that is taken while another runs is refused */
    CHECK(results > (unsigned)ran);
    fixture_close(&f);
}

TEST(test_a_client_that_goes_ends_its_line_and_the_session)
{
    struct fixture f;
    slice text;
    fixture_open(&f, "function EVAL(id, text, write)\n"
                     "  local x <close> = setmetatable({}, {__close = function() ENDED = true end})\n"
                     "  write('runs') sleep(600)\n"
                     "end");
    CHECK_EQ(next_frame(&f, &text), 'H');
    CHECK_EQ(frame_write(f.peer, 'L', SLICE("line")), 0);
    CHECK_EQ(next_frame(&f, &text), 'O');
    close(f.peer);
    f.peer = -1;
    while (f.session != NULL)
        step(&f);
    lua_State *L = vm_state(f.host.vm);
    lua_getglobal(L, "ENDED");
    CHECK(lua_toboolean(L, -1));
    fixture_close(&f);
}
