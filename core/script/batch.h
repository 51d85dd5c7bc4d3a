/*
 * What topic:read returned: stored batches as they lie in the log, and which of their messages were asked for.
 *
 * Nothing is taken apart before somebody looks: an answer is rendered straight from the stored bytes (render.c).
 */
#ifndef SCRIPT_BATCH_H
#define SCRIPT_BATCH_H

#include "script/state.h"
#include "store/record.h"

enum batch_format { FORMAT_JSON, FORMAT_API, FORMAT_LINES, FORMAT_RAW };

struct batch {
    struct buf raw;                   /* owned; whole stored batches */
    size_t claimed;                   /* of its memory, with vm_claim */
    uint64_t from, to;                /* the messages are those at these offsets, */
    uint64_t count;                   /* so many */
    uint64_t epoch;                   /* of the last one; the present one when there is none */
    enum batch_format format;
    bool sent;                        /* answered with: raw is empty */
    struct buf index;                 /* owned; of struct place, made when first needed */
    char topic[TOPIC_NAME_MAX + 1];
};

/* Where a message and its batch begin in raw. */
struct place {
    uint32_t head, message;
};

/* Walks through stored batches, message by message. A zeroed cursor with `rest` set begins. */
struct cursor {
    slice rest;                       /* behind the present batch */
    slice messages;                   /* of it, not yet taken */
    struct batch_head head;
    uint64_t offset;                  /* of the message that cursor_next returned */
    uint32_t left;
};
bool cursor_next(struct cursor *c, struct message *m);

/* Moves to the next batch; what is left of the present one is skipped. */
bool cursor_next_batch(struct cursor *c);

struct batch_range {
    uint64_t from, to, limit, bytes;
};

/* Keeps those messages of b->raw that lie within the range: at least one if there is one at all. */
void batch_cut(struct batch *b, const struct batch_range *range);

void batch_render(struct buf *out, const struct batch *b);
slice batch_type(const struct batch *b);

/* Gives the memory of the stored bytes back. */
void batch_release(struct vm *vm, struct batch *b);

/* A range of a file of stored batches, for format "records". */
struct range {
    int fd;                           /* -1 once it is sent */
    uint64_t position, size, first, next;
};

#endif
