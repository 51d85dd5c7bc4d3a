/*
 * What topic:read returns: stored batches as they lie in the log, and which of their messages were asked for.
 *
 * No message is parsed before something needs it: an answer is rendered straight from the stored bytes (render.h).
 *
 * States of a batch: fresh (raw has the bytes), indexed (`index` made, by the first batch[i]), sent (the answer took
 * the bytes; raw and index are empty). l_batch.c indexes it, http/answer.c sends it, the garbage collector ends it.
 */
#ifndef SCRIPT_MESSAGE_BATCH_H
#define SCRIPT_MESSAGE_BATCH_H

#include "base/limits.h"
#include "script/message/read_headers.h"
#include "script/vm/memory.h"
#include "store/format/record.h"

enum batch_format { FORMAT_JSON, FORMAT_API, FORMAT_LINES, FORMAT_RAW, FORMAT_EVENTS, FORMAT_RAW_EVENTS,
                    FORMAT_ARRAY, FORMAT_BYTES };

struct batch {
    struct read_headers headers;
    struct buf raw;                   /* owned; whole stored batches */
    size_t claimed;                   /* bytes of `raw` counted by memory_claim */
    uint64_t from, to;                /* the messages that were asked for: [from, to) */
    uint64_t count;                   /* how many they are */
    uint64_t epoch;                   /* of the last message; headers.epoch when there is none */
    enum batch_format format;
    bool sent;
    struct buf index;                 /* owned; an array of struct batch_place, one for each message */
    char topic[TOPIC_NAME_MAX + 1];
};

/* Where in `raw` a message and the head of its stored batch begin. */
struct batch_place {
    uint32_t head, message;
};

/* Walks through stored batches, message by message. Start from a zeroed cursor with `rest` set. */
struct cursor {
    slice rest;                       /* after the present stored batch */
    slice messages;                   /* of the present one, not yet returned */
    struct batch_head head;
    uint64_t offset;                  /* of the message that cursor_next returned */
    uint32_t left;                    /* messages in `messages` */
};
bool cursor_next(struct cursor *c, struct message *m);

/* Moves to the next stored batch; the rest of the present one is skipped. */
bool cursor_next_batch(struct cursor *c);

struct batch_range {
    uint64_t from, to, limit, bytes;
};

/* Keeps those messages of b->raw that lie within the range: at least one, if there is one at all. */
void batch_cut(struct batch *b, const struct batch_range *range);

/* Frees the stored bytes. */
void batch_release(struct memory *memory, struct batch *b);

#endif
