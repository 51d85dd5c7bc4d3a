/* Two links with TLS between them, on one loop. */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/mem.h"
#include "net/link.h"
#include "unit/unit.h"

static struct loop loop;
static struct tls_context *context;
static struct link *client, *server;
static int client_fd, server_fd;
static unsigned char type;
static slice payload;

static void open_both(void)
{
    int fds[2];
    struct secret s;
    CHECK_EQ(loop_init(&loop), 0);
    CHECK_EQ(secret_parse(SLICE("00112233445566778899aabbccddeeff"), &s), 0);
    CHECK_EQ(tls_context_new(&s, &context), 0);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    client = link_new(&loop, client_fd = fds[0], false);
    server = link_new(&loop, server_fd = fds[1], false);
    link_secure(client, tls_new(context, TLS_CLIENT, SLICE("n")));
    link_secure(server, tls_new(context, TLS_SERVER, SLICE("n")));
}

static void close_both(void)
{
    link_free(client);
    link_free(server);
    tls_context_free(context);
    loop_fini(&loop);
}

static void stop(void *arg)
{
    (void)arg;
    loop_stop(&loop);
}

static void turn(void)
{
    link_flush(client);
    link_flush(server);
    loop_again(&loop);
    loop_run(&loop, stop, NULL);
}

#define UNTIL(condition)      \
    do {                      \
        while (!(condition))  \
            turn();           \
    } while (0)

static void send_frame(struct link *k, unsigned char t, slice bytes)
{
    buf_add_slice(link_begin(k, t), bytes);
    link_end(k);
}

static char *pattern(size_t n)
{
    char *bytes = mem_resize(NULL, n + 1);
    for (size_t i = 0; i < n; i++)
        bytes[i] = (char)(i * 7 + i / 251);
    return bytes;
}

TEST(test_what_is_written_at_once_arrives_behind_the_handshake)
{
    open_both();
    CHECK_EQ(link_state(client), LINK_CONNECTING);
    CHECK_EQ(link_state(server), LINK_CONNECTING);
    send_frame(client, 'h', SLICE("hello"));
    CHECK(!link_take(client, &type, &payload));      /* asking early does not keep it from reading */
    CHECK(!link_take(server, &type, &payload));
    UNTIL(link_take(server, &type, &payload));
    CHECK_EQ(type, 'h');
    CHECK_SLICE(payload, SLICE("hello"));
    CHECK_EQ(link_state(client), LINK_OPEN);
    CHECK_EQ(link_state(server), LINK_OPEN);
    CHECK_EQ(link_unsent(client), 0);
    close_both();
}

TEST(test_a_largest_frame_goes_both_ways_at_once)
{
    char *bytes = pattern(LINK_FRAME_MAX);
    bool there = false, back = false;
    open_both();
    link_allow(client, LINK_FRAME_MAX);
    link_allow(server, LINK_FRAME_MAX);
    send_frame(client, 'a', slice_of(bytes, LINK_FRAME_MAX));
    send_frame(server, 'b', slice_of(bytes, LINK_FRAME_MAX));
    while (!there || !back) {
        turn();
        if (!there && (there = link_take(server, &type, &payload)))
            CHECK_SLICE(payload, slice_of(bytes, LINK_FRAME_MAX));
        if (!back && (back = link_take(client, &type, &payload)))
            CHECK_SLICE(payload, slice_of(bytes, LINK_FRAME_MAX));
        link_rest(client);
        link_rest(server);
    }
    mem_free(bytes);
    close_both();
}

TEST(test_a_peer_that_never_takes_is_held_back_and_its_rest_follows)
{
    char *bytes = pattern(256 * KIB);
    unsigned sent = 0, taken = 0;
    open_both();
    link_allow(server, LINK_FRAME_MAX);
    UNTIL(link_state(client) == LINK_OPEN);
    for (int refused = 0; refused < 100; turn()) {
        refused = link_unsent(client) < MIB ? 0 : refused + 1;
        if (refused == 0) {
            send_frame(client, 'D', slice_of(bytes, 256 * KIB));
            sent++;
        }
    }
    CHECK(sent < 2 * LINK_FRAME_MAX / (256 * KIB));
    while (taken < sent) {
        while (link_take(server, &type, &payload)) {
            CHECK_SLICE(payload, slice_of(bytes, 256 * KIB));
            taken++;
        }
        turn();
    }
    CHECK_EQ(link_unsent(client), 0);
    mem_free(bytes);
    close_both();
}

TEST(test_a_link_that_is_shut_sends_its_last_word_and_its_peer_sees_the_end)
{
    open_both();
    UNTIL(link_state(client) == LINK_OPEN && link_state(server) == LINK_OPEN);
    send_frame(server, 'R', SLICE("go away"));
    link_shut(server);
    CHECK_EQ(link_state(server), LINK_ENDED);
    UNTIL(link_state(client) == LINK_ENDED);
    CHECK_EQ(link_error(client), -EPIPE);
    CHECK(link_take(client, &type, &payload));
    CHECK_SLICE(payload, SLICE("go away"));
    CHECK(!link_take(client, &type, &payload));
    close_both();
}

TEST(test_a_peer_that_closes_during_the_handshake_ends_the_link)
{
    open_both();
    shutdown(client_fd, SHUT_RDWR);
    UNTIL(link_state(server) == LINK_ENDED && link_state(client) == LINK_ENDED);
    CHECK_EQ(link_error(server), -EPIPE);
    close_both();
}

TEST(test_bytes_that_are_not_tls_end_an_open_link_and_say_why)
{
    open_both();
    UNTIL(link_state(client) == LINK_OPEN && link_state(server) == LINK_OPEN);
    CHECK_EQ(send(client_fd, "\x17\x03\x03\x00\x20 0123456789abcdef0123456789abcdef", 38, 0), 38);
    UNTIL(link_state(server) == LINK_ENDED);
    CHECK_EQ(link_error(server), -EPROTO);
    CHECK_SLICE(slice_from(link_why(server)), SLICE("what it sent was changed on the way"));
    CHECK(!link_take(server, &type, &payload));
    UNTIL(link_state(client) == LINK_ENDED);         /* by the alert */
    CHECK_SLICE(slice_from(link_why(client)), SLICE("what was sent to it was changed on the way"));
    close_both();
}
