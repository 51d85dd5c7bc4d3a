#include "net/address.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "unit/unit.h"

static slice formatted(const char *text)
{
    static char out[ADDRESS_TEXT_MAX];
    union address a = {0};
    socklen_t size;
    CHECK_EQ(address_resolve(slice_from(text), &a, &size), 0);
    address_format(&a, out);
    return slice_from(out);
}

TEST(test_numbers_come_back_as_they_were_written)
{
    CHECK_SLICE(formatted("127.0.0.1:8080"), SLICE("127.0.0.1:8080"));
    CHECK_SLICE(formatted("[::1]:1"), SLICE("[::1]:1"));
    CHECK_SLICE(formatted("255.255.255.255:65535"), SLICE("255.255.255.255:65535"));
    CHECK_SLICE(formatted("[2001:db8::ffff]:0"), SLICE("[2001:db8::ffff]:0"));
}

TEST(test_the_longest_address_fits)
{
    const char *longest = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535";
    CHECK_SLICE(formatted(longest), slice_from(longest));
}

TEST(test_a_name_becomes_a_number)
{
    slice text = formatted("localhost:7");
    CHECK(slice_eq(text, SLICE("127.0.0.1:7")) || slice_eq(text, SLICE("[::1]:7")));
}

TEST(test_what_is_not_host_and_port_is_refused)
{
    static const char *const bad[] = {"", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "[::1]", ":",
                                      "127.0.0.1:http", "127.0.0.1:99999999999", "127.0.0.1: 1", "127.0.0.1:1 "};
    union address a;
    socklen_t size;
    uint16_t port;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        CHECK_EQ(address_resolve(slice_from(bad[i]), &a, &size), -EINVAL);
        CHECK_EQ(address_listen(slice_from(bad[i]), &port), -EINVAL);
        CHECK_EQ(address_dial(slice_from(bad[i])), -EINVAL);
    }
    char longest[400];
    memset(longest, 'a', sizeof longest);
    memcpy(longest + sizeof longest - 2, ":1", 2);
    CHECK_EQ(address_resolve(slice_of(longest, sizeof longest), &a, &size), -EINVAL);
}

TEST(test_a_host_that_is_not_there_is_told_apart_from_a_bad_address)
{
    union address a;
    socklen_t size;
    CHECK_EQ(address_resolve(SLICE("256.256.256.256:1"), &a, &size), -ENXIO);
}

/* A name would have to be resolved, and the loop would wait for it. */
TEST(test_dialling_takes_numbers_alone)
{
    CHECK_EQ(address_dial(SLICE("localhost:1")), -ENXIO);
}

static void wait_for(int fd, short what)
{
    struct pollfd p = {.fd = fd, .events = what};
    CHECK_EQ(poll(&p, 1, 10 * 1000), 1);
}

static bool is_set_up(int fd)
{
    return (fcntl(fd, F_GETFL) & O_NONBLOCK) && (fcntl(fd, F_GETFD) & FD_CLOEXEC);
}

TEST(test_two_sockets_find_each_other_without_waiting)
{
    uint16_t port = 0;
    char text[32];
    union address from = {0};
    int door = address_listen(SLICE("127.0.0.1:0"), &port);
    CHECK(door >= 0);
    CHECK(port > 0);
    CHECK_EQ(address_accept(door, &from), -EAGAIN);
    snprintf(text, sizeof text, "127.0.0.1:%u", port);
    int near = address_dial(slice_from(text));
    CHECK(near >= 0);
    wait_for(door, POLLIN);
    int far = address_accept(door, &from);
    CHECK(far >= 0);
    CHECK(is_set_up(door));
    CHECK(is_set_up(near));
    CHECK(is_set_up(far));
    CHECK_EQ(from.any.sa_family, AF_INET);
    wait_for(near, POLLOUT);
    CHECK_EQ(write(near, "x", 1), 1);
    wait_for(far, POLLIN);
    close(near);
    close(far);
    close(door);
}

TEST(test_a_port_that_is_taken_is_said)
{
    uint16_t port = 0, other = 0;
    char text[32];
    int door = address_listen(SLICE("127.0.0.1:0"), &port);
    snprintf(text, sizeof text, "127.0.0.1:%u", port);
    CHECK_EQ(address_listen(slice_from(text), &other), -EADDRINUSE);
    CHECK_EQ(other, 0);
    close(door);
}

TEST(test_only_this_host_is_loopback)
{
    CHECK(address_is_loopback(SLICE("127.0.0.1:80")));
    CHECK(address_is_loopback(SLICE("127.1.2.3:80")));
    CHECK(address_is_loopback(SLICE("[::1]:80")));
    CHECK(address_is_loopback(SLICE("localhost:80")));
    CHECK(!address_is_loopback(SLICE(":80")));
    CHECK(!address_is_loopback(SLICE("0.0.0.0:80")));
    CHECK(!address_is_loopback(SLICE("[::]:80")));
    CHECK(!address_is_loopback(SLICE("localhost.example.org:80")));
    CHECK(!address_is_loopback(SLICE("12.7.0.0:80")));
    CHECK(!address_is_loopback(SLICE("127.0.0.1.example.org:80")));
}
