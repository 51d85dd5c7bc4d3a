/*
 * When a group may deliver a message, by its headers: not before lignum-delay, a number of seconds after it was
 * appended, or lignum-deliver-at, a time of RFC 3339; not after lignum-ttl, a number of seconds after it was appended.
 * Other readers see the message at once and for ever.
 */
#ifndef BROKER_GROUP_DUE_H
#define BROKER_GROUP_DUE_H

#include "base/slice.h"

#define DUE_DELAY SLICE("lignum-delay")
#define DUE_AT SLICE("lignum-deliver-at")
#define DUE_TTL SLICE("lignum-ttl")

/* Checks the value of one of these headers, of a message that is published now. NULL, or what it must be. */
const char *due_check(slice name, slice value, int64_t now_ms);

/* In milliseconds since 1970: when a message may be delivered, and when it is outdated. A header whose value is not
 * valid counts as absent. */
struct due {
    int64_t from_ms;                 /* 0: at once; at most GROUP_DELAY_MS_MAX after the message was appended */
    int64_t until_ms;                /* INT64_MAX: never */
};
struct due due_of(slice headers, int64_t time_ms);

#endif
