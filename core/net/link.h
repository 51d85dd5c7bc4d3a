/*
 * A link is one TCP connection between two nodes that carries frames both ways (doc/wire.md):
 *
 *     0  4  size of the payload, little-endian
 *     4  1  type
 *     5     payload
 *
 * Nothing is called back: an event of the loop only fills the buffer or notes the end, and the turn takes whole frames
 * with link_take. What is written is collected and goes out with link_flush, once a turn. A peer that does not read
 * makes link_unsent grow, and whoever writes looks at that before it writes more; a peer that sends what nobody takes
 * is not read from, so TCP holds it back.
 */
#ifndef NET_LINK_H
#define NET_LINK_H

#include "base/buf.h"
#include "net/address.h"
#include "net/loop.h"

struct link;

/* Takes over a connected socket, or one that is connecting. Frames are bounded by LINK_GREETING_MAX at first. */
struct link *link_new(struct loop *l, int fd, bool connecting);
void link_free(struct link *k);   /* closes it */

/* From now on frames may have LINK_FRAME_MAX: the peer has shown who it is. */
void link_trust(struct link *k);

enum link_state { LINK_CONNECTING, LINK_OPEN, LINK_ENDED };
enum link_state link_state(const struct link *k);
int link_error(const struct link *k);   /* of an ended one: -errno; -EPIPE: the peer closed it; -EPROTO: a bad frame */

/* The next whole frame; the payload is valid until the next call. False when there is none yet. Frames that came before
 * the end are still handed out. */
bool link_take(struct link *k, unsigned char *type, slice *payload);

/* Where the payload of a new frame is to be written, and its end. Nothing is sent before link_flush. */
struct buf *link_begin(struct link *k, unsigned char type);
void link_end(struct link *k);
void link_cancel(struct link *k);   /* instead of link_end: the frame was never begun */
void link_flush(struct link *k);
size_t link_unsent(const struct link *k);

/* To be called from time to time: gives back large buffers through which nothing went since the last call. */
void link_rest(struct link *k);

/* Ends it from this side: nothing more is taken or sent but what was written already, as far as the socket takes it. */
void link_shut(struct link *k);

/* A listening socket whose connections are handed to on_accept (which takes the descriptor over), as they come. */
struct link_door {
    struct watch readable, pause;   /* pause: after an accept that failed */
    struct loop *loop;              /* outlives us */
    int fd;
    void (*on_accept)(void *arg, int fd, const union address *from);
    void *arg;
};

/* Listens. May wait for a name. 0, or an error of address_listen. */
int link_door_open(struct link_door *d, struct loop *l, slice address, uint16_t *port);
void link_door_close(struct link_door *d);

#endif
