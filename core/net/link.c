#include "net/link.h"

#include <errno.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/say.h"

enum {
    HEAD_SIZE = 5,
    READ_STEP = 256 * KIB,   /* a turn's worth: larger steps only fill caches */
    KEPT_MAX = 64 * KIB,     /* an empty buffer that is larger is given back when it is used no more */
    PAUSE_MS = 500,
};

struct link {
    struct loop *loop;       /* outlives us */
    int fd;                  /* owned */
    enum link_state state;
    int error;
    size_t frame_max;
    size_t taken;            /* bytes at the front of `in` that link_take has handed out */
    size_t open_at;          /* where in `out` the frame begins that is being written */
    bool reading, writing;   /* the watches are set */
    bool busy;               /* more than KEPT_MAX was on its way since link_rest was last called */
    struct watch readable, writable;
    struct buf in, out;
};

static void on_readable(void *arg);
static void on_writable(void *arg);

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

void link_trust(struct link *k)
{
    k->frame_max = LINK_FRAME_MAX;
}

enum link_state link_state(const struct link *k)
{
    return k->state;
}

int link_error(const struct link *k)
{
    return k->error;
}

static void give_back(struct buf *b)
{
    if (buf_size(b) == 0 && b->cap > KEPT_MAX)
        buf_fini(b);
}

/* Not as soon as they are empty: what is given back and taken again for each frame has to be cleared by the kernel. */
void link_rest(struct link *k)
{
    if (!k->busy) {
        give_back(&k->in);
        give_back(&k->out);
    }
    k->busy = false;
}

/* ---- in ---- */

static size_t frame_size(const char *p)
{
    const unsigned char *u = (const unsigned char *)p;
    return u[0] | (size_t)u[1] << 8 | (size_t)u[2] << 16 | (size_t)u[3] << 24;
}

/* One read an event, so that a peer that never stops sending does not keep the loop. */
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
    if (buf_size(&k->in) >= k->frame_max + HEAD_SIZE + READ_STEP)
        want_reading(k, false);
}

static void drop_taken(struct link *k)
{
    if (k->taken == 0)
        return;
    buf_drop(&k->in, k->taken);
    k->taken = 0;
}

/* Whoever takes until there is no frame makes room, and what was held back is read on. */
static bool take_later(struct link *k)
{
    want_reading(k, k->state == LINK_OPEN);
    return false;
}

bool link_take(struct link *k, unsigned char *type, slice *payload)
{
    drop_taken(k);
    slice in = buf_slice(&k->in);
    if (in.n < HEAD_SIZE)
        return take_later(k);
    size_t size = frame_size(in.p);
    if (size > k->frame_max) {
        end(k, -EPROTO);
        return false;
    }
    if (in.n < HEAD_SIZE + size)
        return take_later(k);
    *type = (unsigned char)in.p[4];
    *payload = slice_of(in.p + HEAD_SIZE, size);
    k->taken = HEAD_SIZE + size;
    return true;
}

/* ---- out ---- */

struct buf *link_begin(struct link *k, unsigned char type)
{
    char *p = buf_reserve(&k->out, HEAD_SIZE);
    k->open_at = buf_size(&k->out);
    memset(p, 0, 4);
    p[4] = (char)type;
    k->out.end += HEAD_SIZE;
    return &k->out;
}

void link_end(struct link *k)
{
    size_t size = buf_size(&k->out) - k->open_at - HEAD_SIZE;
    ENSURE(size <= LINK_FRAME_MAX);
    k->busy = k->busy || size > KEPT_MAX;
    char *p = k->out.data + k->out.at + k->open_at;
    for (int i = 0; i < 4; i++)
        p[i] = (char)(size >> 8 * i & 0xff);
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

static void connected(struct link *k)
{
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

static void on_writable(void *arg)
{
    struct link *k = arg;
    if (k->state == LINK_CONNECTING)
        connected(k);
    link_flush(k);
}

void link_shut(struct link *k)
{
    link_flush(k);
    shutdown(k->fd, SHUT_WR);
    end(k, -ECONNABORTED);
}

/* ---- the door ---- */

static void on_knock(void *arg);

static void on_pause_over(void *arg)
{
    struct link_door *d = arg;
    watch_readable(d->loop, &d->readable, d->fd, on_knock, d);
}

/* Out of descriptors, the waiting peer would make us spin. */
static void on_knock(void *arg)
{
    struct link_door *d = arg;
    union address from = {0};
    int fd = address_accept(d->fd, &from);
    if (fd >= 0) {
        d->on_accept(d->arg, fd, &from);
    } else if (fd != -EAGAIN && fd != -EINTR && fd != -ECONNABORTED) {
        say_warn("link", "cannot accept error=\"%s\"", strerror(-fd));
        watch_fini(&d->readable);
        watch_arm(&d->pause, PAUSE_MS * NS_PER_MS);
    }
}

int link_door_open(struct link_door *d, struct loop *l, slice address, uint16_t *port)
{
    int fd = address_listen(address, port);
    if (fd < 0)
        return fd;
    d->fd = fd;
    d->loop = l;
    watch_readable(l, &d->readable, fd, on_knock, d);
    watch_timer(l, &d->pause, on_pause_over, d);
    return 0;
}

void link_door_close(struct link_door *d)
{
    if (d->loop == NULL)
        return;
    watch_fini(&d->readable);
    watch_fini(&d->pause);
    close(d->fd);
    d->loop = NULL;
}
