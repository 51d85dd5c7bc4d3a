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
                    FORMAT_ARRAY, FORMAT_BYTES, FORMAT_JSON_VALUES, FORMAT_LINES_VALUES, FORMAT_EVENTS_VALUES };

struct batch {
    struct read_headers headers;
    struct buf raw;                   /* owned; whole stored batches; with a filter, not all of the range */
    struct buf filter;                /* owned; a message must meet it (broker/group/filter.h); empty: all do */
    size_t claimed;                   /* bytes of `raw` counted by memory_claim */
    uint64_t from, to;                /* the messages that were asked for: [from, to), as far as they meet the filter */
    uint64_t count;                   /* how many they are */
    uint64_t epoch;                   /* of the message before `to`; headers.epoch when from = to */
    enum batch_format format;
    bool sent;
    struct buf index;                 /* owned; an array of struct batch_place, one for each message */
    char topic[TOPIC_NAME_MAX + 1];
};

/* Where in `raw` a message and the head of its stored batch begin, and its offset. */
struct batch_place {
    uint32_t head, message;
    uint64_t offset;
};

/* Walks through stored batches, message by message. Start with batch_walk, or from a zeroed cursor with `rest` set. */
struct cursor {
    slice rest;                       /* after the present stored batch */
    slice filter;                     /* messages that do not meet it are skipped */
    const char *batch, *message;      /* where the present ones begin */
    slice messages;                   /* of the present one, not yet returned */
    struct batch_head head;
    uint64_t offset;                  /* of the message that cursor_next returned */
    uint32_t left;                    /* messages in `messages` */
};
bool cursor_next(struct cursor *c, struct message *m);
struct cursor batch_walk(const struct batch *b);

/* Moves to the next stored batch; the rest of the present one is skipped. */
bool cursor_next_batch(struct cursor *c);

struct batch_range {
    uint64_t from, to, limit, bytes;
};

/* Keeps those messages of b->raw that lie within the range: at least one, if there is one at all. */
void batch_cut(struct batch *b, const struct batch_range *range);

/* The same with a filter, for one piece after the other: goes on from b->to, with the messages that begin at a position
 * of b->raw. `size` counts the bytes of those that are taken. False: that is all. */
bool batch_sift(struct batch *b, size_t position, const struct batch_range *range, size_t *size);

/* Frees the stored bytes. */
void batch_release(struct memory *memory, struct batch *b);

#endif
