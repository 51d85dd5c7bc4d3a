/*
 * A link carries frames (net/frame.h) both ways over one stream socket of the loop: between two nodes, or between the
 * console and its client.
 *
 * It calls nobody back: an event of the loop only fills the input buffer or records the end, and the turn takes
 * whole frames with link_take. Outgoing frames are collected and written by link_flush, once a turn.
 *
 * Backpressure. A peer that does not read makes link_unsent grow; the owner checks that before it adds more. A peer
 * that sends more than the owner takes is not read from once a largest frame is waiting, so the kernel holds it back.
 *
 * With TLS (link_secure) the same bytes are encrypted: link_flush encrypts before it writes, and what arrives is
 * decrypted into the input buffer. Nothing else changes for the owner.
 */
#ifndef NET_LINK_H
#define NET_LINK_H

#include "base/buf.h"
#include "net/loop.h"
#include "net/tls.h"

struct link;

/*
 * CONNECTING -> OPEN   the socket is connected and, with TLS, the TLS handshake is done
 * CONNECTING -> ENDED  either failed, or link_shut
 * OPEN -> ENDED        the peer closed, the socket or TLS failed, a frame above the bound arrived, or link_shut
 *
 * Frames arrive only while OPEN. It stays ENDED until link_free.
 */
enum link_state { LINK_CONNECTING, LINK_OPEN, LINK_ENDED };

/* Takes over a connected non-blocking socket, or one that is connecting. A payload may have LINK_GREETING_MAX bytes. */
struct link *link_new(struct loop *l, int fd, bool connecting);
void link_free(struct link *k);   /* closes it */

/* To be called right after link_new: the link uses TLS, which is taken over. */
void link_secure(struct link *k, struct tls *tls);

/* From now on a payload from the peer may have this many bytes, LINK_FRAME_MAX at most. */
void link_allow(struct link *k, size_t frame_max);

enum link_state link_state(const struct link *k);

/* Of an ended one. The error is -errno; -EPIPE: the peer closed it; -EPROTO: a frame or TLS was not valid. link_why is
 * a sentence for the log. */
int link_error(const struct link *k);
const char *link_why(const struct link *k);

/* The next whole frame; the payload is valid until the next call. False when there is none yet. Frames that arrived
 * before the end can still be taken. */
bool link_take(struct link *k, unsigned char *type, slice *payload);

/* The next link_take returns once more what the last one has returned: it cannot be acted on yet. */
void link_put_back(struct link *k);

/* Whether more is to be taken from a peer: not while it leaves too much of what is sent to it unread. The loop turns
 * again when that is over. */
bool link_listens(struct link *k);

/* Begins a frame: its payload is to be appended to the buffer that is returned, up to link_end. */
struct buf *link_begin(struct link *k, unsigned char type);
void link_end(struct link *k);
void link_cancel(struct link *k);   /* instead of link_end: takes the begun frame back */
void link_flush(struct link *k);
size_t link_unsent(const struct link *k);   /* bytes written and not yet taken by the kernel */

/* To be called from time to time: frees large buffers that are empty and were not used since the last call. */
void link_rest(struct link *k);

/* Ends it from this side. What was written goes out as far as the socket takes it at once; nothing more is taken. */
void link_shut(struct link *k);

#endif
