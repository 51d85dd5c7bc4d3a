/*
 * From what topic:append is given to encoded messages.
 *
 *     a string                              one message
 *     { payload =, key =, headers = }       one message; other fields are not looked at
 *     a list of both kinds                  as many
 *     a request                             its body as one message, or with content type application/x-ndjson one
 *                                           message a line: empty lines are skipped, a CR before the LF is dropped
 *
 * Of a request's head, a single message gets Lignum-Key as its key, Lignum-Header-NAME as its header "name" (in lower
 * case; bytes as they stand), and Content-Type as its header "content-type" unless that says nothing:
 * application/octet-stream, or application/x-www-form-urlencoded, which curl sends unasked.
 */
#ifndef SCRIPT_MESSAGE_ENCODE_H
#define SCRIPT_MESSAGE_ENCODE_H

#include "script/vm/state.h"
#include "store/log/journal.h"

struct draft {
    struct append append;             /* messages, count, producer... are filled in */
    bool ack_peers;                   /* the request asked for it */
    struct buf *out, *headers;        /* the VM's scratch buffers */
    char why[160];                    /* the sentence of a failure */
};

void draft_init(struct draft *d, struct vm *vm);

/* Encodes what lies at `index`. 0, -ERR_TOO_LARGE or -ERR_BAD_VALUE; raises with `usage` for a wrong type. */
int draft_encode(struct draft *d, lua_State *L, int index, const char *usage);

/* Takes Producer-Id, Producer-Epoch, Producer-Seq and Lignum-Ack from a request. 0 or -ERR_BAD_VALUE. */
int draft_take_head(struct draft *d, const struct http_request *r);

/* What the body of a request is. */
enum body {
    BODY_PAYLOAD,                     /* one message, which has nothing but a payload */
    BODY_MESSAGE,                     /* one message with a key or headers */
    BODY_LINES,                       /* one message a line */
    BODY_OTHER,                       /* JSON, which says what the messages are, or one with a content coding */
};
enum body body_of(const struct http_request *r);

/* Encodes a request's body; BODY_OTHER as one message. 0, -ERR_TOO_LARGE or -ERR_BAD_VALUE. */
int draft_encode_request(struct draft *d, const struct http_request *r, enum body body);

/* The same, with what draft_take_head takes. */
int draft_take_request(struct draft *d, const struct http_request *r, enum body body);

/* Pushes a message as a table with payload, and key and headers where it has them. */
void push_message(lua_State *L, const struct message *m);

#endif
