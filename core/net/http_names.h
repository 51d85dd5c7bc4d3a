/*
 * The header names that the core looks for, or that may be given once only. A name is looked up once, when its line is
 * parsed; from then on it is a number, and the names of a head are a set of bits.
 *
 * To add one, add its line at its place by length, and correct `first` in http_names.c if it is the first of its
 * length. A test looks all of them up.
 */
#ifndef NET_HTTP_NAMES_H
#define NET_HTTP_NAMES_H

#include "base/slice.h"

/* LIST: several lines are a list of their values. ONCE: a second line is an error, because a list would mean something
 * else than each of its values. */
#define HTTP_NAMES(X) \
    X(HOST, "Host", ONCE) \
    X(FROM, "From", ONCE) \
    X(DATE, "Date", ONCE) \
    X(RANGE, "Range", ONCE) \
    X(ORIGIN, "Origin", ONCE) \
    X(COOKIE, "Cookie", ONCE) \
    X(EXPECT, "Expect", LIST) \
    X(REFERER, "Referer", ONCE) \
    X(IF_RANGE, "If-Range", ONCE) \
    X(IF_MATCH, "If-Match", LIST) \
    X(CONNECTION, "Connection", LIST) \
    X(USER_AGENT, "User-Agent", ONCE) \
    X(LIGNUM_KEY, "Lignum-Key", ONCE) \
    X(LIGNUM_ACK, "Lignum-Ack", ONCE) \
    X(LIGNUM_TTL, "Lignum-TTL", ONCE) \
    X(PRODUCER_ID, "Producer-Id", ONCE) \
    X(TRACEPARENT, "traceparent", LIST) \
    X(CONTENT_TYPE, "Content-Type", ONCE) \
    X(PRODUCER_SEQ, "Producer-Seq", ONCE) \
    X(LIGNUM_DELAY, "Lignum-Delay", LIST) \
    X(MAX_FORWARDS, "Max-Forwards", ONCE) \
    X(AUTHORIZATION, "Authorization", ONCE) \
    X(LAST_EVENT_ID, "Last-Event-ID", ONCE) \
    X(CONTENT_LENGTH, "Content-Length", ONCE) \
    X(SEC_FETCH_SITE, "Sec-Fetch-Site", ONCE) \
    X(PRODUCER_EPOCH, "Producer-Epoch", ONCE) \
    X(LIGNUM_FORWARD, "Lignum-Forward", ONCE) \
    X(IDEMPOTENCY_KEY, "Idempotency-Key", ONCE) \
    X(CONTENT_ENCODING, "Content-Encoding", LIST) \
    X(LIGNUM_FORWARDED, "Lignum-Forwarded", ONCE) \
    X(TRANSFER_ENCODING, "Transfer-Encoding", ONCE) \
    X(IF_MODIFIED_SINCE, "If-Modified-Since", ONCE) \
    X(LIGNUM_DELIVER_AT, "Lignum-Deliver-At", LIST) \
    X(IF_UNMODIFIED_SINCE, "If-Unmodified-Since", ONCE) \
    X(PROXY_AUTHORIZATION, "Proxy-Authorization", ONCE) \
    X(LIGNUM_HEADER_CONTENT_TYPE, "Lignum-Header-Content-Type", ONCE)

enum http_name {
    NAME_OTHER,
#define NAME(name, text, lines) NAME_##name,
    HTTP_NAMES(NAME)
#undef NAME
    NAME_LIGNUM_HEADER,      /* any other that begins with Lignum-Header- */
    NAME_COUNT,
};
_Static_assert(NAME_COUNT <= 64, "a set of names is one word");

#define NAME_BIT(name) (UINT64_C(1) << (name))

/* In any case. */
enum http_name http_name_of(slice name);

/* The sentence that refuses a second line with that name; NULL: several are allowed. */
const char *http_name_once(enum http_name name);

#endif
