#include "net/frame.h"

#include <errno.h>
#include <sys/socket.h>

void frame_head_write(char to[FRAME_HEAD_SIZE], struct frame_head head)
{
    for (int i = 0; i < 4; i++)
        to[i] = (char)(head.size >> 8 * i & 0xff);
    to[4] = (char)head.type;
}

struct frame_head frame_head_read(const char from[FRAME_HEAD_SIZE])
{
    const unsigned char *u = (const unsigned char *)from;
    size_t size = u[0] | (size_t)u[1] << 8 | (size_t)u[2] << 16 | (size_t)u[3] << 24;
    return (struct frame_head){size, u[4]};
}

int frame_write(int fd, unsigned char type, slice payload)
{
    struct buf out = {0};
    int rc = 0;
    frame_head_write(buf_reserve(&out, FRAME_HEAD_SIZE), (struct frame_head){payload.n, type});
    out.end += FRAME_HEAD_SIZE;
    buf_add_slice(&out, payload);
    while (rc == 0 && buf_size(&out) > 0) {
        ssize_t n = send(fd, out.data + out.at, buf_size(&out), MSG_NOSIGNAL);
        if (n >= 0)
            buf_drop(&out, (size_t)n);
        else if (errno != EINTR)
            rc = -errno;
    }
    buf_fini(&out);
    return rc;
}

static int read_all(int fd, char *to, size_t n)
{
    while (n > 0) {
        ssize_t got = recv(fd, to, n, MSG_WAITALL);
        if (got == 0)
            return -EPIPE;
        if (got < 0 && errno != EINTR)
            return -errno;
        if (got > 0) {
            to += got;
            n -= (size_t)got;
        }
    }
    return 0;
}

int frame_read(int fd, size_t size_max, unsigned char *type, struct buf *payload)
{
    char bytes[FRAME_HEAD_SIZE];
    int rc = read_all(fd, bytes, sizeof bytes);
    if (rc < 0)
        return rc;
    struct frame_head head = frame_head_read(bytes);
    if (head.size > size_max)
        return -EPROTO;
    buf_clear(payload);
    rc = read_all(fd, buf_reserve(payload, head.size), head.size);
    if (rc < 0)
        return rc;
    payload->end += head.size;
    *type = head.type;
    return 0;
}
