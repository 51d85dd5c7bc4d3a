/*
 * Batches as text, straight from the stored bytes into the answer (doc/http.md, section 2).
 *
 * The formats array and bytes are the payloads alone: as the elements of a JSON array, whatever they hold, and one
 * after the other.
 *
 * json_values, ndjson_values and events_values are json, ndjson and events, but a payload that is JSON becomes "json",
 * its text on one line; every other one stays "data".
 *
 * Bytes that JSON cannot hold: in the formats json and ndjson a payload that is not UTF-8 becomes "base64", in the
 * format api, which has no field for bytes, its bad bytes become U+FFFD. A key that is not UTF-8 becomes "key_base64".
 * Headers are UTF-8, which is checked before they are stored.
 */
#ifndef SCRIPT_MESSAGE_RENDER_H
#define SCRIPT_MESSAGE_RENDER_H

#include "script/message/batch.h"

/* The fields of a message in the formats json and ndjson that follow its time, each with a comma before it. With
 * `values` a payload that is JSON is "json", that value, and not "data", a string. */
void message_render(struct buf *out, const struct message *m, bool values);

/* The fields that all messages of a stored batch share, each with a comma before it: ,"epoch":1,"time":"..." */
void batch_fields_render(struct buf *out, uint64_t epoch, int64_t time_ms);

void batch_render(struct buf *out, const struct batch *b);

/* Text that is reused from message to message. */
struct reused {
    struct buf batch;                 /* batch_fields_render */
    uint64_t batch_first;             /* that batch */
    struct buf digits;                /* of the last offset: the next one is one more */
    uint64_t offset;                  /* the last offset */
};

/* The same in pieces. The batch stays as it is until rendering_end. */
struct rendering {
    const struct batch *batch;
    struct cursor cursor;             /* what is not rendered yet */
    struct reused reused;
    uint64_t count;                   /* messages rendered */
    bool begun;
};
void rendering_begin(struct rendering *g, const struct batch *b);

/* Appends about `most` bytes, by whole messages. False: these were the last. */
bool rendering_next(struct rendering *g, struct buf *out, size_t most);
void rendering_end(struct rendering *g);

/* The format that scripts call by this name. False: there is none. */
bool batch_format_named(slice name, enum batch_format *out);

slice batch_format_name(const struct batch *b);   /* also a part of the ETag */
slice batch_media_type(const struct batch *b);

#endif
