#include "net/conn.h"

#include <errno.h>
#include <event2/event.h>
#include <poll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/ensure.h"
#include "base/least.h"
#include "base/mem.h"
#include "net/tls_stream.h"

enum { FILE_STEP = 16 * KIB };         /* of a file, for one record of TLS */

void buf_pool_take(struct buf_pool *pool, struct buf *b)
{
    ENSURE(!b->data);
    char *data = pool->count > 0 ? pool->spare[--pool->count] : mem_resize(NULL, CONN_BUF_SIZE);
    *b = (struct buf){.data = data, .cap = CONN_BUF_SIZE};
}

void buf_pool_give(struct buf_pool *pool, struct buf *b)
{
    if (b->cap == CONN_BUF_SIZE && pool->count < CONN_BUFS_SPARE)
        pool->spare[pool->count++] = b->data;
    else
        mem_free(b->data);
    *b = (struct buf){0};
}

void buf_pool_fini(struct buf_pool *pool)
{
    while (pool->count > 0)
        mem_free(pool->spare[--pool->count]);
}

void conn_open(struct conn *c, struct event_base *base, int fd, event_callback_fn on_ready, void *arg)
{
    *c = (struct conn){.fd = fd, .interest = EV_READ, .watched = true};
    ENSURE(event_assign(&c->event, base, fd, EV_READ | EV_PERSIST, on_ready, arg) == 0);
    ENSURE(event_add(&c->event, NULL) == 0);
}

void conn_secure(struct conn *c, struct tls_stream *tls)
{
    ENSURE(c->tls == NULL);
    c->tls = tls;
}

void conn_unsecure(struct conn *c)
{
    tls_stream_free(c->tls);
    c->tls = NULL;
}

void conn_finish(struct conn *c)
{
    if (c->tls != NULL)
        tls_stream_end(c->tls);
}

void conn_close(struct conn *c)
{
    if (c->watched)
        event_del(&c->event);
    c->watched = false;
    conn_unsecure(c);
    close(c->fd);
    c->fd = -1;
}

/* No event of the socket announces what has been decrypted. */
static void announce_held(struct conn *c)
{
    if (c->tls != NULL && (c->interest & EV_READ) && tls_stream_holds(c->tls))
        event_active(&c->event, EV_READ, 0);
}

void conn_want(struct conn *c, short interest)
{
    if (c->interest == interest)
        return;
    struct event *e = &c->event;
    event_del(e);
    c->interest = interest;
    /* By edges: what has arrived and is not read would call without end. */
    short what = interest != 0 ? interest : EV_READ | EV_ET;
    ENSURE(event_assign(e, event_get_base(e), c->fd, (short)(what | EV_PERSIST), event_get_callback(e),
                        event_get_callback_arg(e)) == 0);
    ENSURE(event_add(e, NULL) == 0);
    announce_held(c);
}

bool conn_reset(const struct conn *c)
{
    struct pollfd p = {.fd = c->fd};
    return poll(&p, 1, 0) > 0 && (p.revents & POLLERR) != 0;
}

ssize_t conn_read(struct conn *c)
{
    struct buf *in = &c->in;
    ENSURE(in->end < in->cap);
    ssize_t n;
    if (c->tls == NULL) {
        n = recv(c->fd, in->data + in->end, in->cap - in->end, 0);
        if (n < 0)
            return errno == EINTR ? -EAGAIN : -errno;
    } else {
        n = tls_stream_read(c->tls, in->data + in->end, in->cap - in->end);
        announce_held(c);
        if (n < 0)
            return n;
    }
    in->end += (size_t)n;
    c->eof = n == 0;
    return n;
}

/* On TCP, MSG_TRUNC drops bytes without copying them anywhere. */
ssize_t conn_discard(struct conn *c, size_t max)
{
    ssize_t n = recv(c->fd, NULL, max, MSG_TRUNC);
    if (n < 0)
        return errno == EINTR ? -EAGAIN : -errno;
    c->eof = n == 0;
    return n;
}

ssize_t conn_write(struct conn *c, struct buf *body, bool more)
{
    int flags = MSG_NOSIGNAL | (more ? MSG_MORE : 0);
    slice head = buf_slice(&c->out);
    ssize_t n;
    if (c->tls != NULL) {
        n = tls_stream_write(c->tls, head, buf_slice(body), more);
        if (n < 0)
            return n;
    } else if (buf_size(body) == 0) {
        n = send(c->fd, head.p, head.n, flags);
    } else {
        struct iovec parts[2] = {
            {c->out.data + c->out.at, head.n},
            {body->data + body->at, buf_size(body)},
        };
        n = sendmsg(c->fd, &(struct msghdr){.msg_iov = parts, .msg_iovlen = 2}, flags);
    }
    if (n < 0)
        return errno == EINTR ? -EAGAIN : -errno;
    size_t of_head = (size_t)n < head.n ? (size_t)n : head.n;
    buf_drop(&c->out, of_head);
    buf_drop(body, (size_t)n - of_head);
    return n;
}

/* A record at a time. One that the socket did not take is read and given again by the next call. */
static ssize_t encrypt_file(struct conn *c, int file, uint64_t *position, uint64_t size)
{
    char bytes[FILE_STEP] UNINIT;
    size_t sent = 0;
    while (sent < size) {
        ssize_t n = pread(file, bytes, least(size - sent, sizeof(bytes)), (off_t)*position);
        if (n > 0)
            n = tls_stream_write(c->tls, slice_of(bytes, (size_t)n), (slice){0}, sent + (size_t)n < size);
        else if (n < 0)
            n = -errno;
        if (n <= 0)
            return sent > 0 ? (ssize_t)sent : n;
        sent += (size_t)n;
        *position += (uint64_t)n;
    }
    return (ssize_t)sent;
}

ssize_t conn_send_file(struct conn *c, int file, uint64_t *position, uint64_t size)
{
    if (c->tls != NULL)
        return encrypt_file(c, file, position, size);
    off_t at = (off_t)*position;
    ssize_t n = sendfile(c->fd, file, &at, (size_t)size);
    if (n < 0)
        return errno == EINTR ? -EAGAIN : -errno;
    *position = (uint64_t)at;
    return n;
}
