/*
 * The origin of a batch: which producer sent it, as which of its requests; the idempotency key of the request; or which
 * dead letter it is. From origins alone follows which requests the log has already (store/dedupe).
 *
 * A producer's epoch and sequence are in the batch's header. The rest is a section of 1 + n bytes between the header
 * and the messages, whose size the header states:
 *
 *    0  1  kind: 1 = producer, 2 = idempotency key, 3 = letter
 *    1     the producer's id (at most PRODUCER_ID_MAX bytes), or the key, or the letter's (at most IDEMPOTENCY_KEY_MAX)
 *
 * To add a kind: 1. the enum; 2. the bound of its name in origin.c; 3. the table here and in doc/format.md.
 */
#ifndef STORE_FORMAT_ORIGIN_H
#define STORE_FORMAT_ORIGIN_H

#include "store/format/record.h"

enum origin_kind { ORIGIN_NONE, ORIGIN_PRODUCER, ORIGIN_KEY, ORIGIN_LETTER };

struct origin {
    enum origin_kind kind;
    slice name;
    uint64_t epoch, sequence;     /* of a producer; both at most JSON_INTEGER_MAX */
};

/* The section's size; 0: the batch needs none. */
static inline uint16_t origin_size(const struct origin *o)
{
    return (uint16_t)(o->kind == ORIGIN_NONE ? 0 : 1 + o->name.n);
}

/* Writes the section, of that size. Epoch and sequence are for the caller to put into the header. */
void origin_write(char *out, const struct origin *o);

/* The origin that a batch states, whose bytes the name points into. 0; -ERR_DAMAGED: not one of the above. */
int origin_read(const char *batch, const struct batch_head *head, struct origin *out);

/* Appends the batch without its origin, with a checksum of its own: for readers, whom producers do not concern. */
void origin_strip(struct buf *out, const char *batch, const struct batch_head *head);

#endif
