/*
 * The query of a read, when it has the usual form: `from`, an offset or a token epoch:offset, and besides it only whole
 * numbers named to, limit, bytes and wait, each at most once and within its bounds. Everything else is left to
 * scripts/routes/message.lua, which also words the refusals.
 */
#ifndef SCRIPT_HTTP_READ_QUERY_H
#define SCRIPT_HTTP_READ_QUERY_H

#include "broker/topic/topic.h"

struct read_query {
    bool has_token;                   /* `from` was this token */
    struct topic_token token;
    uint64_t from, to, limit, bytes;  /* absent: UINT64_MAX for `to`, the defaults for the others */
    uint64_t wait_s;
};

/* False: it has another form. */
bool read_query_parse(slice text, struct read_query *q);

#endif
