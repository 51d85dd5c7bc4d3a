/*
 * All errors in one table: the code, its name for Lua and HTTP, the HTTP status, whether trying again can help, and a
 * sentence.
 *
 * A function that can fail returns 0 or a negative code: -ERR_x from here, or -errno. No other file knows the name,
 * status or sentence of a code. To add an error: a line in ERR_TABLE, and one in the table of doc/http.md (a test
 * compares the two).
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdbool.h>

/*    code             name                 status retry sentence */
#define ERR_TABLE(X) \
    X(BAD_REQUEST,     "bad_request",         400, NO,  "the request is not well formed") \
    X(BAD_JSON,        "bad_json",            400, NO,  "the body is not valid JSON") \
    X(BAD_TOPIC,       "bad_topic",           400, NO, \
      "not a topic name: 1 to 128 of A-Z a-z 0-9 . _ -, not starting with . - or _") \
    X(BAD_VALUE,       "bad_value",           400, NO,  "a field has a wrong type or value") \
    X(BAD_RANGE,       "bad_range",           400, NO,  "the range of offsets is empty or reversed") \
    X(REJECTED,        "rejected",            400, NO,  "the operator's on_publish refused the message") \
    X(UNAUTHORIZED,    "unauthorized",        401, NO,  "credentials are missing or wrong") \
    X(FORBIDDEN,       "forbidden",           403, NO,  "not allowed") \
    X(FOREIGN,         "foreign_origin",      403, NO,  "pages of that origin may not use this node") \
    X(NOT_FOUND,       "not_found",           404, NO,  "there is no such path") \
    X(UNKNOWN_TOPIC,   "unknown_topic",       404, NO,  "there is no topic with that name") \
    X(UNKNOWN_STREAM,  "unknown_stream",      404, NO,  "there is no such stream") \
    X(UNKNOWN_GROUP,   "unknown_group",       404, NO,  "the topic has no group with that name") \
    X(UNKNOWN_TOKEN,   "unknown_token",       404, NO,  "there is no access token with that name") \
    X(BAD_METHOD,      "method_not_allowed",  405, NO,  "this path does not support that method") \
    X(NOT_ACCEPTABLE,  "not_acceptable",      406, NO,  "none of the accepted media types can be produced") \
    X(SLOW_REQUEST,    "request_timeout",     408, YES, "the request did not arrive in time") \
    X(TOPIC_EXISTS,    "topic_exists",        409, NO,  "the topic exists with other settings") \
    X(STREAM_EXISTS,   "stream_exists",       409, NO,  "the stream exists with another configuration") \
    X(STREAM_CLOSED,   "stream_closed",       409, NO,  "the stream is closed; nothing can be appended") \
    X(GROUP_EXISTS,    "group_exists",        409, NO,  "the group exists with other settings") \
    X(TOKEN_EXISTS,    "token_exists",        409, NO,  "there is an access token with that name already") \
    X(LEASE_LOST,      "lease_lost",          409, NO,  "the lease is over, or was never given") \
    X(TRUNCATED,       "log_truncated",       409, NO,  "that offset belongs to a history that was cut off") \
    X(SEQUENCE_GAP,    "sequence_gap",        409, NO,  "an earlier request of the producer is missing") \
    X(FENCED,          "fenced",              403, NO,  "a newer epoch of the producer has begun") \
    X(GONE,            "offset_gone",         410, NO,  "retention has removed that offset") \
    X(STREAM_GONE,     "stream_gone",         410, NO,  "the stream is deleted; forks of it still exist") \
    X(PRECONDITION,    "precondition_failed", 412, NO,  "the present state is not the one that was expected") \
    X(TOO_LARGE,       "too_large",           413, NO,  "larger than the limit") \
    X(URI_TOO_LONG,    "uri_too_long",        414, NO,  "the request target is too long") \
    X(BAD_MEDIA,       "unsupported_media",   415, NO,  "this content type or encoding is not supported") \
    X(BAD_EXPECT,      "expectation_failed",  417, NO,  "only Expect: 100-continue is supported") \
    X(BEYOND,          "offset_beyond",       416, NO,  "that offset is beyond the end of the topic") \
    X(MISDIRECTED,     "misdirected",         421, NO,  "this node does not answer to that Host") \
    X(NO_PRECONDITION, "precondition_required", 428, NO, "this request needs If-Match") \
    X(TOO_MANY,        "too_many_requests",   429, YES, "over a rate or count limit") \
    X(HEAD_TOO_LARGE,  "head_too_large",      431, NO,  "the request head is too large") \
    X(INTERNAL,        "internal",            500, NO,  "a defect in Lignum") \
    X(SCRIPT,          "script_error",        500, NO,  "a script failed") \
    X(SCRIPT_TIME,     "script_timeout",      500, NO,  "a script exceeded its time budget") \
    X(SCRIPT_MEMORY,   "script_memory",       500, NO,  "a script exceeded its memory limit") \
    X(DAMAGED,         "damaged",             500, NO,  "these records are damaged on this node's disk") \
    X(DIVERGED,        "diverged",            500, NO,  "this node's history differs from its leader's") \
    X(BAD_CODING,      "not_implemented",     501, NO,  "this transfer coding is not implemented") \
    X(FETCH,           "fetch_failed",        502, YES, "an outgoing request failed") \
    X(UNAVAILABLE,     "unavailable",         503, YES, "not ready to serve this") \
    X(BUSY,            "busy",                503, YES, "at a limit; try again") \
    X(STOPPING,        "stopping",            503, YES, \
      "this node stops, or has replaced the lignum.lua of this request") \
    X(NOT_LEADER,      "not_leader",          503, YES, "another node leads; this one appends nothing") \
    X(NO_LEADER,       "no_leader",           503, YES, "no node leads at the moment") \
    X(UNCONFIRMED,     "unconfirmed",         503, YES, "Consul has not confirmed for too long that this node leads") \
    X(REGRESSED,       "set_regressed",       503, YES, "Consul has an older state than one that was seen before") \
    X(NOT_ELIGIBLE,    "not_eligible",        503, YES, "this node may not lead") \
    X(CONFLICT,        "conflict",            409, NO,  "the current state is not the expected one") \
    X(OLD_EPOCH,       "old_epoch",           409, NO,  "a newer epoch has been promised") \
    X(NO_COPIES,       "not_enough_copies",   503, YES, "fewer nodes are in sync than the topic needs copies") \
    X(UNKNOWN_OUTCOME, "unknown_outcome",     504, YES, "not confirmed in time; the message may or may not appear") \
    X(BAD_VERSION,     "http_version",        505, NO,  "only HTTP/1.1 and HTTP/1.0 are supported") \
    X(STORAGE,         "storage",             503, YES, "the topic's directory cannot be opened on this node") \
    X(NO_SPACE,        "no_space",            507, YES, "the disk is full") \
    X(TOO_MANY_TOPICS, "too_many_topics",     507, NO,  "there are as many topics as limits.topics allows") \
    X(FORMAT,          "bad_format",          500, NO,  "not Lignum's data, or of another format version") \
    X(CANCELLED,       "cancelled",           499, NO,  "the wait was cancelled") \
    X(TIMEOUT,         "timeout",             504, YES, "the wait timed out")

enum err {
    ERR_NONE = 1000,  /* above every errno */
#define X(code, name, status, retry, sentence) ERR_##code,
    ERR_TABLE(X)
#undef X
    ERR_END
};

/* All take a negative code. -ENOSPC counts as no_space; any other -errno as internal, with strerror as its sentence. */
const char *err_name(int rc);
const char *err_sentence(int rc);
int err_status(int rc);
bool err_retryable(int rc);

#endif
