/*
 * What the headers of an answer tell about a read besides its messages (doc/http.md, section 2). Every read has them,
 * so they are written from numbers straight to bytes.
 */
#ifndef SCRIPT_MESSAGE_READ_HEADERS_H
#define SCRIPT_MESSAGE_READ_HEADERS_H

#include "base/buf.h"
#include "net/http.h"

struct read_headers {
    uint64_t id_epoch, id_offset;     /* the topic's id */
    uint64_t asked, next;             /* the first offset that was asked for; the one to go on from */
    uint64_t epoch;                   /* of the message before `next`, or EPOCH_UNKNOWN (broker/topic/topic.h) */
    uint64_t epoch_now, earliest;
    int64_t staleness_ms;             /* since a follower heard its leader; negative: this node follows nobody */
    bool fixed;                       /* the range ended before the log does, so it can never change */
    bool tagged;                      /* the ETag is sent, too */
};

/* Appends the header lines: Lignum-Next-Offset, Lignum-Epoch, Lignum-Earliest, Lignum-Staleness-Ms, nosniff (clients
 * chose the bytes), and ETag, or no-store when it is not `tagged`. `form` names the representation. */
void read_headers_write(struct buf *lines, const struct read_headers *h, slice form);

/* Does the client have this range already, by If-None-Match? From then on a fixed range is `tagged`. `tag` is an empty
 * buffer to work in. */
bool read_headers_match(struct read_headers *h, const struct http_request *r, slice form, struct buf *tag);

#endif
