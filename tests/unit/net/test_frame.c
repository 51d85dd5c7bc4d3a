#include "net/frame.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/limits.h"
#include "unit/unit.h"

TEST(test_a_head_is_five_bytes_with_the_size_in_little_endian)
{
    char bytes[FRAME_HEAD_SIZE];
    frame_head_write(bytes, (struct frame_head){0x04030201, 0xfe});
    CHECK_SLICE(slice_of(bytes, sizeof bytes), SLICE("\1\2\3\4\xfe"));
    struct frame_head head = frame_head_read(bytes);
    CHECK_EQ(head.size, 0x04030201);
    CHECK_EQ(head.type, 0xfe);
}

TEST(test_the_largest_size_that_a_head_can_state_is_read_without_wrapping)
{
    CHECK_EQ(frame_head_read("\xff\xff\xff\xffx").size, 0xffffffff);
}

TEST(test_blocking_read_tells_the_end_from_a_bad_frame)
{
    int fds[2];
    unsigned char type = 0;
    struct buf payload = {0};
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    CHECK_EQ(write(fds[1], "\2\0\0\0Rok\3\0\0\0R", 12), 12);
    CHECK_EQ(frame_read(fds[0], 2, &type, &payload), 0);
    CHECK_EQ(type, 'R');
    CHECK_SLICE(buf_slice(&payload), SLICE("ok"));
    CHECK_EQ(frame_read(fds[0], 2, &type, &payload), -EPROTO);
    close(fds[1]);
    CHECK_EQ(frame_read(fds[0], 2, &type, &payload), -EPIPE);
    CHECK_EQ(frame_write(fds[0], 'L', SLICE("x")), -EPIPE);
    buf_fini(&payload);
}

TEST(test_the_end_in_the_middle_of_a_frame_is_no_frame)
{
    static const char bytes[] = "\3\0\0\0Rabc";
    for (size_t cut = 0; cut < sizeof bytes - 1; cut++) {
        int fds[2];
        unsigned char type = 0;
        struct buf payload = {0};
        CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
        CHECK_EQ(write(fds[1], bytes, cut), (ssize_t)cut);
        close(fds[1]);
        CHECK_EQ(frame_read(fds[0], KIB, &type, &payload), -EPIPE);
        close(fds[0]);
        buf_fini(&payload);
    }
}
