/* How a link gets connected, or does not. */
#include "unit/link_rig.h"

#include "net/address.h"

static void dial(struct fixture *f, uint16_t port)
{
    char text[32];
    *f = (struct fixture){.peer = -1};
    CHECK_EQ(loop_init(&f->loop), 0);
    snprintf(text, sizeof text, "127.0.0.1:%u", port);
    int fd = address_dial(slice_from(text));
    CHECK(fd >= 0);
    f->link = link_new(&f->loop, fd, true);
}

TEST(test_a_link_to_nobody_is_refused)
{
    struct fixture f;
    uint16_t port;
    int door = address_listen(SLICE("127.0.0.1:0"), &port);
    close(door);
    dial(&f, port);
    send_frame(f.link, 'h', SLICE("hello"));
    link_flush(f.link);
    run_until(&f, has_ended);
    CHECK_EQ(link_error(f.link), -ECONNREFUSED);
    CHECK(!has_frame(&f));
    fixture_close(&f);
}

TEST(test_what_was_written_while_connecting_goes_out_then)
{
    struct fixture f;
    uint16_t port;
    union address from;
    char got[64];
    int door = address_listen(SLICE("127.0.0.1:0"), &port);
    dial(&f, port);
    CHECK_EQ(link_state(f.link), LINK_CONNECTING);
    send_frame(f.link, 'h', SLICE("hello"));
    link_flush(f.link);
    CHECK_EQ(link_unsent(f.link), HEAD + 5);
    run_until(&f, is_open);
    run_until(&f, has_sent_all);
    f.peer = address_accept(door, &from);
    CHECK(f.peer >= 0);
    CHECK_EQ(fcntl(f.peer, F_SETFL, 0), 0);
    CHECK_EQ(read(f.peer, got, sizeof got), HEAD + 5);
    fixture_close(&f);
    close(door);
}
