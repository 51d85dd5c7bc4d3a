/*
 * Reading JSON (RFC 8259), strictly, one event at a time: the reader can stop between any two of them, and nothing
 * recurses. Beyond the grammar it refuses text that is not UTF-8, halves of surrogate pairs, and numbers beyond a
 * double. JSON_DEPTH_MAX and JSON_VALUES_MAX are checked before what exceeds them is returned.
 *
 * States, and what may come next in each:
 *     VALUE       a value
 *     FIRST       a value or ]           after [
 *     NAME_FIRST  a name or }            after {
 *     NAME        a name                 after a comma in an object
 *     AFTER       a comma or the bracket that closes; outside of all brackets the end of the text
 * After JSON_END or JSON_BAD there is no next event.
 */
#ifndef BASE_JSON_READ_H
#define BASE_JSON_READ_H

#include "base/buf.h"
#include "base/limits.h"

enum json_state { JSON_VALUE, JSON_FIRST, JSON_NAME_FIRST, JSON_NAME, JSON_AFTER };

enum json_event {
    JSON_BAD,                         /* `error` and `why` say what is wrong */
    JSON_END,                         /* the text was one value */
    JSON_OPEN_OBJECT, JSON_OPEN_LIST, JSON_CLOSE,
    JSON_MEMBER,                      /* `string`: the name of the value that follows */
    JSON_STRING,                      /* `string` */
    JSON_INTEGER,                     /* `integer`: digits that 64 bits hold, or another whole number up to 2^53 - 1 */
    JSON_NUMBER,                      /* `number` */
    JSON_TRUE, JSON_FALSE, JSON_NULL,
};

struct json_reader {
    slice text;                       /* stays in place until the last event */
    size_t at;                        /* bytes that have been read */
    enum json_state state;
    unsigned depth;
    uint64_t objects;                 /* bit d - 1: the bracket at depth d is an object's */
    uint32_t values, values_max;      /* values_max: fewer than JSON_VALUES_MAX; 0: that */
    size_t from;                      /* where the last value begins in the text */
    slice string;                     /* in the text, or in `scratch` when it had escapes: valid until the next event */
    int64_t integer;
    double number;
    int error;                        /* -ERR_BAD_JSON, or -ERR_TOO_LARGE with the limit that was exceeded */
    uint32_t limit;
    char why[96];
};
_Static_assert(JSON_DEPTH_MAX <= 64, "json_reader.objects has a bit for each");

/* Start from a zeroed reader with `text` set. */
enum json_event json_next(struct json_reader *r, struct buf *scratch);

/* Appends `text`, which is JSON that json_next has taken, without the space between its tokens: one line, and numbers
 * and strings byte for byte. */
void json_squeeze(struct buf *out, slice text);

/* The same, if `text` is one JSON value. Else it appends nothing and returns false. */
bool json_copy(struct buf *out, slice text);

static inline bool json_in_object(const struct json_reader *r)
{
    return r->depth > 0 && (r->objects >> (r->depth - 1) & 1) != 0;
}

#endif
