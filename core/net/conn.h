/*
 * One non-blocking socket with its two buffers, plain or with TLS. It knows nothing of what the bytes mean.
 *
 * The event reports readiness only and stays registered from one request to the next, so a usual request costs one
 * recv, one send and no system call about events. Buffers of the usual size come from a pool and return to it, so an
 * idle connection has none. With TLS, the event also fires while bytes wait that have been decrypted already.
 */
#ifndef NET_CONN_H
#define NET_CONN_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/limits.h"

enum {
    CONN_BUF_SIZE = 4 * KIB,   /* enough for usual requests and answers */
    CONN_BUFS_SPARE = 256,     /* kept in the pool: 1 MiB */
};

struct tls_stream;

struct buf_pool {
    char *spare[CONN_BUFS_SPARE];  /* owned */
    unsigned count;
};

void buf_pool_take(struct buf_pool *pool, struct buf *b);   /* b owns nothing before */
void buf_pool_give(struct buf_pool *pool, struct buf *b);   /* empties it; another size is freed */
void buf_pool_fini(struct buf_pool *pool);

struct conn {
    struct event event;
    struct buf in, out;
    struct tls_stream *tls;   /* owned; NULL: plain */
    int fd;             /* -1 once closed */
    short interest;     /* EV_READ | EV_WRITE as wanted */
    bool watched;       /* the event is registered: for these, or for the end of the connection alone */
    bool eof;           /* the peer will send nothing more */
};

/* Takes the socket over and waits for it to become readable. */
void conn_open(struct conn *c, struct event_base *base, int fd, event_callback_fn on_ready, void *arg);
/* From now on with TLS, and without it again; tls_stream_shake has to open it before bytes are read or written. */
void conn_secure(struct conn *c, struct tls_stream *tls);
void conn_unsecure(struct conn *c);

void conn_close(struct conn *c);
void conn_finish(struct conn *c);   /* before it is closed: what has been sent is all there is */

/* Calls on_ready for these; for neither of them (0) with EV_READ when something happens to the connection: the callback
 * asks conn_reset then, and must not read. */
void conn_want(struct conn *c, short interest);
bool conn_reset(const struct conn *c);    /* the peer has reset it */

/* Reads once into the free room of `in`. The number of bytes, 0 at the end (and sets eof), -EAGAIN or -errno. */
ssize_t conn_read(struct conn *c);

/* Discards up to max bytes that have arrived, and are not decrypted; returns as conn_read does. */
ssize_t conn_discard(struct conn *c, size_t max);

/* Writes `out` and then `body`, plain by one system call, and removes from them what the kernel took; `more`: a file
 * follows. The number of bytes; -EAGAIN when the socket is full; -errno. */
ssize_t conn_write(struct conn *c, struct buf *body, bool more);

/* Sends up to `size` bytes of a file from *position on, and advances *position. Returns as conn_write does; 0: the file
 * ends there. */
ssize_t conn_send_file(struct conn *c, int file, uint64_t *position, uint64_t size);

#endif
