/*
 * When a group may deliver a message for the first time: by its headers lignum-delay, a number of seconds after it was
 * appended, and lignum-deliver-at, a time of RFC 3339. Other readers see the message at once.
 */
#ifndef BROKER_GROUP_DUE_H
#define BROKER_GROUP_DUE_H

#include "base/slice.h"

#define DUE_DELAY SLICE("lignum-delay")
#define DUE_AT SLICE("lignum-deliver-at")

/* Checks the value of one of these headers, of a message that is published now. NULL, or what it must be. */
const char *due_check(slice name, slice value, int64_t now_ms);

/* Milliseconds since 1970, by the headers of a message that was appended at time_ms; 0: at once, also where a value is
 * not valid. At most GROUP_DELAY_MS_MAX after that time. */
int64_t due_ms(slice headers, int64_t time_ms);

#endif
