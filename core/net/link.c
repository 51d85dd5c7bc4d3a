#include "net/link.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/ensure.h"
#include "base/limits.h"
#include "base/mem.h"
#include "net/frame.h"

enum {
    READ_STEP = 256 * KIB,   /* a turn's worth: larger steps only fill caches */
    KEPT_MAX = 64 * KIB,     /* an empty buffer above this size is freed when it is not in use */
};

/*
 * `reading` is set while OPEN, unless `in` holds a largest frame and a read beyond it. `writing` is set while
 * CONNECTING, and while OPEN when link_flush has left something in `out`. Neither is set once ENDED.
 */
struct link {
    struct loop *loop;       /* outlives us */
    int fd;                  /* owned */
    enum link_state state;
    int error;
    size_t frame_max;
    size_t taken;            /* bytes at the front of `in` that the last link_take handed out */
    size_t open_at;          /* where in `out` the frame begins that is being written */
    bool reading, writing;   /* the watches are set */
    bool busy;               /* more than KEPT_MAX was in a buffer since link_rest was last called */
    struct watch readable, writable;
    struct buf in, out;
};

static void end(struct link *k, int error)
{
    if (k->state == LINK_ENDED)
        return;
    k->state = LINK_ENDED;
    k->error = error;
    watch_fini(&k->readable);
    watch_fini(&k->writable);
    k->reading = k->writing = false;
}

static void on_readable(void *arg);
static void on_writable(void *arg);

static void want_reading(struct link *k, bool on)
{
    if (k->reading == on || k->state == LINK_ENDED)
        return;
    k->reading = on;
    if (on)
        watch_readable(k->loop, &k->readable, k->fd, on_readable, k);
    else
        watch_fini(&k->readable);
}

static void want_writing(struct link *k, bool on)
{
    if (k->writing == on || k->state == LINK_ENDED)
        return;
    k->writing = on;
    if (on)
        watch_writable(k->loop, &k->writable, k->fd, on_writable, k);
    else
        watch_fini(&k->writable);
}

struct link *link_new(struct loop *l, int fd, bool connecting)
{
    struct link *k = MEM_NEW(struct link);
    k->loop = l;
    k->fd = fd;
    k->state = connecting ? LINK_CONNECTING : LINK_OPEN;
    k->frame_max = LINK_GREETING_MAX;
    want_reading(k, !connecting);
    want_writing(k, connecting);
    return k;
}

void link_free(struct link *k)
{
    end(k, 0);
    close(k->fd);
    buf_fini(&k->in);
    buf_fini(&k->out);
    mem_free(k);
}

void link_allow(struct link *k, size_t frame_max)
{
    ENSURE(frame_max <= LINK_FRAME_MAX);
    k->frame_max = frame_max;
}

enum link_state link_state(const struct link *k)
{
    return k->state;
}

int link_error(const struct link *k)
{
    return k->error;
}

/* Freed a while after they became empty, not at once: the kernel has to clear memory that is freed and allocated again
 * for each frame. */
void link_rest(struct link *k)
{
    if (!k->busy && buf_size(&k->in) == 0 && k->in.cap > KEPT_MAX)
        buf_fini(&k->in);
    if (!k->busy && buf_size(&k->out) == 0 && k->out.cap > KEPT_MAX)
        buf_fini(&k->out);
    k->busy = false;
}

/* ---- in ---- */

/* One read an event, so that a peer that sends without pause does not keep the loop from other events. */
static void on_readable(void *arg)
{
    struct link *k = arg;
    ssize_t n = recv(k->fd, buf_reserve(&k->in, READ_STEP), READ_STEP, 0);
    if (n > 0)
        k->in.end += (size_t)n;
    else if (n == 0)
        end(k, -EPIPE);
    else if (errno != EAGAIN && errno != EINTR)
        end(k, -errno);
    k->busy = k->busy || buf_size(&k->in) > KEPT_MAX;
    if (buf_size(&k->in) >= k->frame_max + FRAME_HEAD_SIZE + READ_STEP)
        want_reading(k, false);
}

bool link_take(struct link *k, unsigned char *type, slice *payload)
{
    if (k->taken > 0)
        buf_drop(&k->in, k->taken);
    k->taken = 0;
    slice in = buf_slice(&k->in);
    struct frame_head head = {0};
    if (in.n >= FRAME_HEAD_SIZE)
        head = frame_head_read(in.p);
    if (head.size > k->frame_max) {
        end(k, -EPROTO);
        return false;
    }
    if (in.n < FRAME_HEAD_SIZE + head.size) {
        want_reading(k, k->state == LINK_OPEN);   /* there is room again, if it was held back */
        return false;
    }
    *type = head.type;
    *payload = slice_of(in.p + FRAME_HEAD_SIZE, head.size);
    k->taken = FRAME_HEAD_SIZE + head.size;
    return true;
}

/* ---- out ---- */

/* The size is not known yet; link_end writes it. */
struct buf *link_begin(struct link *k, unsigned char type)
{
    char *p = buf_reserve(&k->out, FRAME_HEAD_SIZE);
    k->open_at = buf_size(&k->out);
    frame_head_write(p, (struct frame_head){0, type});
    k->out.end += FRAME_HEAD_SIZE;
    return &k->out;
}

void link_end(struct link *k)
{
    size_t size = buf_size(&k->out) - k->open_at - FRAME_HEAD_SIZE;
    ENSURE(size <= LINK_FRAME_MAX);
    k->busy = k->busy || size > KEPT_MAX;
    char *p = k->out.data + k->out.at + k->open_at;
    frame_head_write(p, (struct frame_head){size, frame_head_read(p).type});
}

void link_cancel(struct link *k)
{
    k->out.end = k->out.at + k->open_at;
}

void link_flush(struct link *k)
{
    while (k->state == LINK_OPEN && buf_size(&k->out) > 0) {
        slice rest = buf_slice(&k->out);
        ssize_t n = send(k->fd, rest.p, rest.n, MSG_NOSIGNAL);
        if (n >= 0)
            buf_drop(&k->out, (size_t)n);
        else if (errno == EAGAIN)
            break;
        else if (errno != EINTR)
            end(k, -errno);
    }
    if (k->state == LINK_OPEN)
        want_writing(k, buf_size(&k->out) > 0);
}

size_t link_unsent(const struct link *k)
{
    return buf_size(&k->out);
}

static void on_writable(void *arg)
{
    struct link *k = arg;
    if (k->state == LINK_CONNECTING) {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(k->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error) {
            end(k, -error);
            return;
        }
        k->state = LINK_OPEN;
        want_reading(k, true);
    }
    link_flush(k);
}

void link_shut(struct link *k)
{
    link_flush(k);
    shutdown(k->fd, SHUT_WR);
    end(k, -ECONNABORTED);
}
