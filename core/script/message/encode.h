/*
 * Messages from Lua values to encoded bytes, ready for an append; and back.
 *
 *     a string                              one message
 *     { payload =, key =, headers = }       one message; other fields are ignored
 *     a list of both kinds                  one message each
 *
 * request_body.h does the same for a request's body.
 */
#ifndef SCRIPT_MESSAGE_ENCODE_H
#define SCRIPT_MESSAGE_ENCODE_H

#include <lua.h>

#include "broker/topic/topic.h"
#include "script/vm/raise.h"
#include "script/vm/vm.h"

struct draft {
    struct append append;             /* messages, count, producer... are filled in */
    struct vm *vm;                    /* outlives us */
    bool ack_peers;                   /* the request asks for the peers' acknowledgement */
    bool asks;                        /* it has an origin, or expects a place: topics_publish */
    bool has_expect;                  /* append only at this place: */
    struct topic_token expect;
    struct buf *out, *headers;        /* scratch buffers of the VM; or others, with: */
    bool own;                         /* they are not kept for later */
    uint64_t limit;                   /* of -ERR_TOO_LARGE: the limit that was exceeded */
    char why[288];                    /* the sentence of a failure; "" = the code's own */
};

void draft_init(struct draft *d, struct vm *vm);

/* Sets d->why and returns `rc`. */
int draft_fail(struct draft *d, int rc, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Sets the place from its token. 0 or -ERR_BAD_VALUE, in which `what` names it. */
int draft_expect(struct draft *d, const char *what, slice token);

/* The date by which a time in a message is judged: the one that topics give to messages. For a VM that is attached. */
int64_t draft_date(const struct draft *d);

/* Is that place one that a topic without a message does not have? */
bool draft_expects_messages(const struct draft *d);

/* Adds a header to d->headers, for the next message. -ERR_BAD_VALUE when it has no name, or a NUL in it, or is not
 * UTF-8, for reads give it as JSON. */
int draft_header(struct draft *d, slice name, slice value);

/* Adds one message. 0 or -ERR_TOO_LARGE. */
int draft_add(struct draft *d, const struct message *m);

/* Call once all messages are in. 0, or -ERR_BAD_VALUE when there is none. */
int draft_finish(struct draft *d);

/* Call once the messages have been copied: frees what need not be kept. */
void draft_done(struct draft *d);

/* Adds the value at `index`, and finishes. 0, -ERR_TOO_LARGE or -ERR_BAD_VALUE. A wrong type raises with `usage`. */
MAY_RAISE int draft_encode(struct draft *d, lua_State *L, int index, const char *usage);

/* Pushes the results of a binding whose draft has failed: nil, message, code; and with too_large {limit =}. */
MAY_RAISE int push_draft_fail(lua_State *L, const struct draft *d, int rc);

/* Pushes a message as a table with payload, and key and headers where it has them. */
MAY_RAISE void push_message(lua_State *L, const struct message *m);

#endif
