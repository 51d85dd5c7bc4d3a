/*
 * What topic:read returned: stored batches as they lie in the log, and which of their messages were asked for.
 *
 * Nothing is taken apart before somebody looks: an answer is rendered straight from the stored bytes (render.c).
 */
#ifndef SCRIPT_MESSAGE_BATCH_H
#define SCRIPT_MESSAGE_BATCH_H

#include "script/vm/state.h"
#include "store/format/record.h"

enum batch_format { FORMAT_JSON, FORMAT_API, FORMAT_LINES, FORMAT_RAW, FORMAT_EVENTS, FORMAT_RAW_EVENTS };

/* What a client is told about a read in its headers. */
struct read_facts {
    uint64_t id_epoch, id_offset;     /* of the topic */
    uint64_t asked, next;             /* the first offset that was asked for; where to go on */
    uint64_t epoch;                   /* of the message before `next`, or EPOCH_UNKNOWN (broker/topic/topic.h) */
    uint64_t epoch_now, earliest;
    int64_t staleness_ms;             /* since a follower heard its leader; negative: it does not follow */
    bool fixed;                       /* the range ended because the question does, so it can never change */
    bool tagged;                      /* its ETag is told as well */
};

struct batch {
    struct read_facts facts;
    struct buf raw;                   /* owned; whole stored batches */
    size_t claimed;                   /* of its memory, with vm_claim */
    uint64_t from, to;                /* the messages are those at these offsets, */
    uint64_t count;                   /* so many */
    uint64_t epoch;                   /* of the last one; facts.epoch when there is none */
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

/* By the name that scripts call it by. False: there is none. */
bool batch_format_named(slice name, enum batch_format *out);

slice batch_form(const struct batch *b);    /* that name; its ETag has it, too */
slice batch_type(const struct batch *b);    /* its media type */

/* Gives the memory of the stored bytes back. */
void batch_release(struct vm *vm, struct batch *b);

/* A range of a file of stored batches, for format "records". */
struct range {
    struct read_facts facts;
    struct buf bytes;                 /* owned; the range itself where it is short */
    size_t claimed;                   /* of its memory, with vm_claim */
    int fd;                           /* owned; of the file, or -1 */
    bool sent;                        /* answered with: neither is left */
    uint64_t position, size, first, next;
};
void range_release(struct vm *vm, struct range *r);

/* Header lines: Lignum-Next-Offset, Lignum-Epoch, Lignum-Earliest, Lignum-Staleness-Ms, and ETag once it is `tagged`.
 * `form` is a word for the representation. */
void facts_add_headers(struct buf *lines, const struct read_facts *f, slice form);

/* Does the client have it already? From then on its headers have the ETag, if it can. */
bool facts_known(lua_State *L, struct read_facts *f, const struct http_request *r, slice form);

/* "<topic id>/<epoch>:<from>-<next>/<form>", quotes included. */
void facts_add_tag(struct buf *out, const struct read_facts *f, slice form);

#endif
