/*
 * Framed streams: a socket that carries frames of a type and bytes, both ways. The console speaks it over a Unix
 * socket; replication will over TCP.
 *
 *     0  4  size of the payload, little-endian, at most FRAME_SIZE_MAX
 *     4  1  type
 *     5     payload
 */
#ifndef NET_FRAME_H
#define NET_FRAME_H

#include "base/buf.h"
#include "net/loop.h"

struct frame_stream;

/* All are called from the loop and only record. None but on_closed may free the stream. */
struct frame_events {
    void (*on_frame)(void *arg, unsigned char type, slice payload);
    void (*on_drained)(void *arg);   /* what had to wait has been sent; may be NULL */
    void (*on_closed)(void *arg);    /* by the peer, an error or a bad frame; call frame_stream_free */
};

/* Takes the non-blocking socket over. */
struct frame_stream *frame_stream_new(struct loop *l, int fd, const struct frame_events *events, void *arg);
void frame_stream_free(struct frame_stream *f);

/* Sends a frame or queues what the socket does not take. Past FRAME_UNSENT_MAX of waiting bytes the stream is cut
 * (on_closed follows from the loop): a peer that does not read does not grow our memory. */
void frame_send(struct frame_stream *f, unsigned char type, slice payload);
size_t frame_unsent(const struct frame_stream *f);

/* Blocking use, for the client: whole frames on a plain blocking socket; signals do not break one off. 0, or -errno,
 * -EPIPE at the end, -EPROTO for what is no frame. */
int frame_write(int fd, unsigned char type, slice payload);
int frame_read(int fd, unsigned char *type, struct buf *payload);

#endif
