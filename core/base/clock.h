/*
 * Time. Durations come from the monotonic clock in nanoseconds; dates from the wall clock in
 * milliseconds since 1970, UTC.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

enum { MS_PER_S = 1000 };
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S UINT64_C(1000000000)

/*
 * A process that tests scripts, or judges old messages by them, holds its clock: both stand still, and clock_forward
 * moves them. It is the one state of this file.
 */
void clock_hold(int64_t wall_ms);       /* again: at another time, with the monotonic one as at first */
void clock_release(void);
bool clock_is_held(void);
void clock_forward(uint64_t to_ns);     /* to a later clock_ns() */
uint64_t clock_real_ns(void);           /* monotonic, held or not */

uint64_t clock_ns(void);        /* monotonic */
int64_t clock_wall_ms(void);
bool clock_is_set(void);        /* the kernel says that something, such as NTP, keeps the wall clock right */
uint64_t clock_cpu_ns(void);    /* CPU time of this process, user and system */

/* RFC 3339 in UTC with milliseconds: 2026-11-23T10:00:00.000Z. */
void clock_format(struct buf *out, int64_t wall_ms);

/* Reads what clock_format writes; the fraction may be missing, and the zone may be +hh:mm. 0 or -EINVAL. */
int clock_parse(slice text, int64_t *wall_ms);

#endif
