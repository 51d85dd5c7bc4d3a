/*
 * One non-blocking socket with its two buffers; it knows nothing of what the bytes mean.
 *
 * The event is told about readiness only and stays registered from one request to the next: in the usual cycle a
 * request costs one recv and one send and no call about events. Buffers of the usual size come from a pool and go
 * back to it, so that a connection at rest holds none.
 */
#ifndef NET_CONN_H
#define NET_CONN_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/limits.h"

enum {
    CONN_BUF_SIZE = 4 * KIB,   /* a request and an answer of everyday size */
    CONN_BUFS_SPARE = 256,     /* kept in the pool: 1 MiB */
};

struct buf_pool {
    char *spare[CONN_BUFS_SPARE];  /* owned */
    unsigned count;
};

void buf_pool_take(struct buf_pool *pool, struct buf *b);   /* b owns nothing before */
void buf_pool_give(struct buf_pool *pool, struct buf *b);   /* empties it; what is not of the usual size is freed */
void buf_pool_fini(struct buf_pool *pool);

struct conn {
    struct event event;
    struct buf in, out;
    int fd;             /* -1 once closed */
    short interest;     /* EV_READ | EV_WRITE as registered */
    bool eof;           /* the peer has sent all it will */
};

/* Takes the socket over and waits for it to become readable. */
void conn_open(struct conn *c, struct event_base *base, int fd, event_callback_fn on_ready, void *arg);
void conn_close(struct conn *c);
void conn_want(struct conn *c, short interest);

/* Reads once into the free room of `in`. The number of bytes, 0 at the end (and sets eof), -EAGAIN or -errno. */
ssize_t conn_read(struct conn *c);

/* Throws away what has arrived, up to max bytes; returns as conn_read does. */
ssize_t conn_discard(struct conn *c, size_t max);

/* Writes `out` and then `body` in one call, dropping what the kernel took; `more`: a file follows. The number of
 * bytes, or -EAGAIN when the socket is full, or -errno. */
ssize_t conn_write(struct conn *c, struct buf *body, bool more);

/* Sends up to `size` bytes of a file from *position on, and moves that. Returns as conn_write does; 0 is a file that
 * ends too early. */
ssize_t conn_send_file(struct conn *c, int file, uint64_t *position, uint64_t size);

#endif
