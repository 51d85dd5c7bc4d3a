#include "net/frame.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/ensure.h"
#include "base/limits.h"
#include "base/mem.h"

enum {
    HEAD_SIZE = 5,
    READ_STEP = 16 * KIB,
    KEPT_MAX = 64 * KIB,   /* a buffer that grew beyond this for one large frame is given back */
};

struct frame_stream {
    struct loop *loop;         /* outlives us */
    int fd;                    /* owned */
    bool broken;               /* nothing is delivered or sent any more; on_closed follows */
    struct frame_events events;
    void *arg;
    struct watch readable;
    struct watch writable;     /* set only while something waits unsent */
    struct buf in, out;
};

struct frame {
    size_t size;               /* of the payload */
    unsigned char type;
};

static void put_head(char *to, struct frame frame)
{
    for (int i = 0; i < 4; i++)
        to[i] = (char)(frame.size >> 8 * i & 0xff);
    to[4] = (char)frame.type;
}

/* False when no frame can be that large. */
static bool get_head(const char *p, struct frame *out)
{
    const unsigned char *u = (const unsigned char *)p;
    out->size = u[0] | (size_t)u[1] << 8 | (size_t)u[2] << 16 | (size_t)u[3] << 24;
    out->type = u[4];
    return out->size <= FRAME_SIZE_MAX;
}

static void add_frame(struct buf *out, unsigned char type, slice payload)
{
    ENSURE(payload.n <= FRAME_SIZE_MAX);
    put_head(buf_reserve(out, HEAD_SIZE), (struct frame){payload.n, type});
    out->end += HEAD_SIZE;
    buf_add_slice(out, payload);
}

static void trim(struct buf *b)
{
    if (buf_size(b) == 0 && b->cap > KEPT_MAX)
        buf_fini(b);
}

/* The end is told from the loop, never from inside frame_send: a socket shut down reads as ended. */
static void break_off(struct frame_stream *f)
{
    f->broken = true;
    watch_fini(&f->writable);
    buf_fini(&f->out);
    shutdown(f->fd, SHUT_RDWR);
}

/* Hands out the whole frames of f->in. False when the stream has to end. */
static bool deliver(struct frame_stream *f)
{
    struct frame frame;
    while (!f->broken && buf_size(&f->in) >= HEAD_SIZE) {
        if (!get_head(buf_slice(&f->in).p, &frame))
            return false;
        if (buf_size(&f->in) < HEAD_SIZE + frame.size)
            return true;
        slice payload = slice_of(buf_slice(&f->in).p + HEAD_SIZE, frame.size);
        f->events.on_frame(f->arg, frame.type, payload);
        buf_drop(&f->in, HEAD_SIZE + frame.size);
    }
    return !f->broken;
}

static bool is_transient(int error)
{
    return error == EAGAIN || error == EINTR;
}

/* One read an event, so that a peer that never stops sending does not keep the loop. */
static void on_readable(void *arg)
{
    struct frame_stream *f = arg;
    char *to = buf_reserve(&f->in, READ_STEP);
    ssize_t n = recv(f->fd, to, READ_STEP, 0);
    if (n < 0 && is_transient(errno))
        return;
    bool goes_on = n > 0;
    if (goes_on) {
        f->in.end += (size_t)n;
        goes_on = deliver(f);
    }
    if (goes_on)
        trim(&f->in);
    else
        f->events.on_closed(f->arg);
}

static bool push_out(struct frame_stream *f)
{
    while (buf_size(&f->out) > 0) {
        slice rest = buf_slice(&f->out);
        ssize_t n = send(f->fd, rest.p, rest.n, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN;
        buf_drop(&f->out, (size_t)n);
    }
    trim(&f->out);
    return true;
}

static void on_writable(void *arg)
{
    struct frame_stream *f = arg;
    if (!push_out(f)) {
        break_off(f);
    } else if (buf_size(&f->out) == 0) {
        watch_fini(&f->writable);
        if (f->events.on_drained)
            f->events.on_drained(f->arg);
    }
}

struct frame_stream *frame_stream_new(struct loop *l, int fd, const struct frame_events *events, void *arg)
{
    struct frame_stream *f = MEM_NEW(struct frame_stream);
    f->loop = l;
    f->fd = fd;
    f->events = *events;
    f->arg = arg;
    watch_readable(l, &f->readable, fd, on_readable, f);
    return f;
}

void frame_stream_free(struct frame_stream *f)
{
    watch_fini(&f->readable);
    watch_fini(&f->writable);
    close(f->fd);
    buf_fini(&f->in);
    buf_fini(&f->out);
    mem_free(f);
}

void frame_send(struct frame_stream *f, unsigned char type, slice payload)
{
    if (f->broken)
        return;
    bool waits = buf_size(&f->out) > 0;
    add_frame(&f->out, type, payload);
    if (!waits && !push_out(f)) {
        break_off(f);
        return;
    }
    if (buf_size(&f->out) > FRAME_UNSENT_MAX)
        break_off(f);
    else if (!waits && buf_size(&f->out) > 0)
        watch_writable(f->loop, &f->writable, f->fd, on_writable, f);
}

size_t frame_unsent(const struct frame_stream *f)
{
    return buf_size(&f->out);
}

int frame_write(int fd, unsigned char type, slice payload)
{
    struct buf out = {0};
    int rc = 0;
    add_frame(&out, type, payload);
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

int frame_read(int fd, unsigned char *type, struct buf *payload)
{
    char head[HEAD_SIZE];
    struct frame frame;
    int rc = read_all(fd, head, sizeof head);
    if (rc < 0)
        return rc;
    if (!get_head(head, &frame))
        return -EPROTO;
    buf_clear(payload);
    rc = read_all(fd, buf_reserve(payload, frame.size), frame.size);
    if (rc < 0)
        return rc;
    payload->end += frame.size;
    *type = frame.type;
    return 0;
}
