/*
 * Frames: what travels between nodes (doc/wire.md) and between the console and its client.
 *
 *     0  4  size of the payload, little-endian
 *     4  1  type
 *     5     payload
 *
 * The one place that knows these bytes. net/link.h carries frames over a socket of the loop; the functions below read
 * and write whole frames on a blocking socket, as the console's client does.
 */
#ifndef NET_FRAME_H
#define NET_FRAME_H

#include "base/buf.h"

enum { FRAME_HEAD_SIZE = 5 };

struct frame_head {
    size_t size;               /* of the payload */
    unsigned char type;
};

void frame_head_write(char to[FRAME_HEAD_SIZE], struct frame_head head);
struct frame_head frame_head_read(const char from[FRAME_HEAD_SIZE]);

/* Signals do not interrupt a frame. 0, or -errno; -EPIPE: the peer closed the connection; -EPROTO: the payload is
 * larger than size_max. */
int frame_write(int fd, unsigned char type, slice payload);
int frame_read(int fd, size_t size_max, unsigned char *type, struct buf *payload);

#endif
