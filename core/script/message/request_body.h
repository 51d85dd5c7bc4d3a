/*
 * What a request carries: its body as messages, and what its headers say about the append.
 *
 * The body is one message, or with content type application/x-ndjson one message a line: empty lines are skipped, and a
 * CR before the LF is dropped. A single message takes from the request Lignum-Key as its key, Lignum-Header-NAME as its
 * header "name" (in lower case; not decoded, and UTF-8), and Content-Type as its header "content-type", unless that is
 * application/octet-stream, or application/x-www-form-urlencoded, which curl sends unasked. Of several lines of one
 * Lignum-Header-NAME the header is the list (net/http_parse.h). Lignum-Delay and Lignum-Deliver-At become headers of
 * those names (broker/group/due.h), of each message where the body has several lines.
 */
#ifndef SCRIPT_MESSAGE_REQUEST_BODY_H
#define SCRIPT_MESSAGE_REQUEST_BODY_H

#include "net/http.h"
#include "script/message/encode.h"

enum body {
    BODY_PAYLOAD,                     /* one message that has nothing but a payload */
    BODY_MESSAGE,                     /* one message with a key or headers */
    BODY_LINES,                       /* one message a line */
    BODY_JSON,                        /* JSON, which describes the messages */
    BODY_CODED,                       /* it has a content coding */
};
enum body body_of(const struct http_request *r);

/* No header says anything of its messages or of the append, and it has no content coding. */
bool body_is_bare(const struct http_request *r);

/* Adds the body and finishes; BODY_JSON and BODY_CODED as one message. 0, -ERR_TOO_LARGE or -ERR_BAD_VALUE. */
int draft_encode_body(struct draft *d, const struct http_request *r, enum body body);

/* Lignum-Key and Lignum-Header-NAME belong to a single message, Lignum-Delay, Lignum-Deliver-At and Lignum-TTL unless
 * `may_be_due`. -ERR_BAD_VALUE when the head has one; `what` says what the body is instead. */
int draft_refuse_message_headers(struct draft *d, const struct http_request *r, const char *what, bool may_be_due);

/* Takes Producer-Id, Producer-Epoch and Producer-Seq, or Idempotency-Key; If-Match; Lignum-Ack. 0 or -ERR_BAD_VALUE. */
int draft_take_headers(struct draft *d, const struct http_request *r);

#endif
