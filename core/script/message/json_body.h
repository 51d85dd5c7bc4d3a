/*
 * A body of JSON as messages: one object, or a list of them, each with `data` (a string, or any other value, whose text
 * is the payload) or `base64`, and `key` or `key_base64`, `headers`, `delay`, `deliver_at` and `ttl` as they are wanted
 * (doc/http.md). It is read event by event into a draft, without a table for each, and can stop between any two events:
 * a largest body takes many slices.
 *
 * States: where in the text the next event is.
 *     OUTSIDE   before the value, or behind it          { -> MESSAGE    [ -> LIST    the end of the text: done
 *     LIST      in the list of messages                 { -> MESSAGE    ] -> OUTSIDE
 *     MESSAGE   in a message                            } -> the message is added, LIST or OUTSIDE
 *               a name                                  -> its value is due; that of headers: { -> HEADERS,
 *                                                          that of data: { or [ -> DATA
 *     HEADERS   in the headers of a message             } -> MESSAGE
 *     DATA      in a payload that is an object or list  its last bracket -> MESSAGE
 * Anything else is an error. Nothing is appended before the text has ended.
 */
#ifndef SCRIPT_MESSAGE_JSON_BODY_H
#define SCRIPT_MESSAGE_JSON_BODY_H

#include "base/json_read.h"
#include "base/map.h"
#include "net/http.h"
#include "script/message/encode.h"

enum { ENVELOPE_TIME_SIZE = 32 };

enum envelope_state { ENVELOPE_OUTSIDE, ENVELOPE_LIST, ENVELOPE_MESSAGE, ENVELOPE_HEADERS, ENVELOPE_DATA };

enum envelope_field {
    FIELD_DATA, FIELD_BASE64, FIELD_KEY, FIELD_KEY_BASE64, FIELD_HEADERS, FIELD_DELAY, FIELD_DELIVER_AT, FIELD_TTL,
    FIELDS_OF_ENVELOPE
};

struct envelopes {
    struct json_reader reader;        /* its text is the request's body, which the caller keeps in place */
    const struct http_head *head;     /* of that request, as well */
    struct draft draft;               /* its buffers are `out` and `pairs`, or scratch buffers of the VM */
    struct buf out, pairs;
    struct buf data, key, word;       /* strings that had escapes or were base64; any other one */
    enum envelope_state state;
    bool listed;                      /* the messages are in a list */
    unsigned given;                   /* bit f: the message has the field f */
    enum envelope_field field;        /* whose value is due */
    slice payload, key_text;
    size_t data_from;                 /* where in the text a payload that is not a string begins */
    unsigned data_depth;              /* how deep the reader is around it */
    struct map names;                 /* of the headers; they lie in the draft's buffer, which does not move */
    struct buf name;                  /* of the header whose value is due */
    char due[ENVELOPE_TIME_SIZE];     /* what `delay` or `deliver_at` says, as the value of a header */
    char ttl[ENVELOPE_TIME_SIZE];     /* and `ttl` */
};

/* `whole`: all is read at once, and the draft uses scratch buffers of the VM. */
void envelopes_init(struct envelopes *e, const struct http_request *r, struct vm *vm, bool whole);
void envelopes_end(struct envelopes *e);      /* frees all but the draft and its buffers */
void envelopes_fini(struct envelopes *e);

/* Reads until the text ends, or, when there is an `until_ns`, until then. 1: not yet; 0: the draft is finished; -ERR...
 * with the draft's `why` and `limit`. */
int envelopes_read(struct envelopes *e, uint64_t until_ns);

/* Memory that it owns. */
size_t envelopes_hold(const struct envelopes *e);

#endif
