/*
 * The trace that a request is a part of, kept with its messages: W3C Trace Context, level 1 (https://www.w3.org/TR/
 * trace-context-1/). A traceparent that is not valid, or is given twice, is as none, and so is a tracestate without it.
 */
#ifndef SCRIPT_MESSAGE_TRACE_H
#define SCRIPT_MESSAGE_TRACE_H

#include "net/http_parse.h"

/* Adds the request's traceparent, and its tracestate, as headers of a message, unless the message has a traceparent of
 * its own or they find no room within HEADERS_SIZE_MAX. Both are ASCII. */
void trace_add(struct buf *headers, const struct http_head *head);

#endif
