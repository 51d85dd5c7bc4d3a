/*
 * The server's side of TLS on one connection: it reads and writes the socket itself, so bytes are copied once. It
 * belongs to a struct conn (net/conn.h), whose functions choose between it and the plain socket.
 *
 * Of a new one tls_stream_shake is called, whenever something has arrived, until the connection is open. After a
 * failure the stream may only be asked why, and freed.
 */
#ifndef NET_TLS_STREAM_H
#define NET_TLS_STREAM_H

#include <sys/types.h>

#include "base/slice.h"

struct tls_server;
struct tls_stream;

struct tls_stream *tls_stream_new(struct tls_server *s, int fd);   /* shares the server; the socket outlives it */
void tls_stream_free(struct tls_stream *t);                        /* NULL does nothing */

/* 1: the connection is open; 0: more must arrive; -EAGAIN: the socket must take more; -EPROTO: it has failed. */
int tls_stream_shake(struct tls_stream *t);

/* Of an open connection. The number of bytes; 0 at the end; -EAGAIN; -errno. Reads as long as records that have
 * arrived fill the room. */
ssize_t tls_stream_read(struct tls_stream *t, char *to, size_t size);

/* True when the last read left bytes inside that no event of the socket will announce. */
bool tls_stream_holds(const struct tls_stream *t);

/* Of an open connection. Sends `head` and then `body`, a record at a time, until the socket is full or about 1 MiB has
 * gone. The number of bytes of both; -EAGAIN when the socket took none; -errno. What was not taken must be given again
 * first, and may have become longer. `more`: further bytes follow at once. */
ssize_t tls_stream_write(struct tls_stream *t, slice head, slice body, bool more);

/* Tells the client that nothing more will come, so that it knows an answer to be whole that the end of the connection
 * ends. */
void tls_stream_end(struct tls_stream *t);

/* The name (CN) in the client's certificate; n == 0: it has shown none, or there is not exactly one name in it. */
slice tls_stream_user(const struct tls_stream *t);

/* Whether `s` lets in the client of an open connection, by the certificate that it has shown. */
bool tls_stream_fits(const struct tls_stream *t, struct tls_server *s);

/* What made the handshake fail, as a sentence about the client ("it ..."). */
const char *tls_stream_why(const struct tls_stream *t);

#endif
