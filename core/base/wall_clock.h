/*
 * The date, for messages and for retention by age: the system's wall clock, but not its jumps.
 *
 * A wall clock that is wrong for a moment would give messages wrong dates for good, and retention would delete what is
 * young. So each look compares it with the time that has passed since the last look, by the clock that never jumps:
 *
 *   steady    both agree to CLOCK_JUMP_MS. The wall clock is the date -> jumped, when they do not
 *   jumped    the date goes on from where it was, which the log says. -> steady, when the clock is back, or has kept
 *             its jump for CLOCK_TRUST_MS: then somebody has set it right
 *
 * The first look believes it. Used on one thread.
 */
#ifndef BASE_WALL_CLOCK_H
#define BASE_WALL_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

struct wall_clock {
    int64_t date_ms;         /* at the last look while steady */
    uint64_t looked_ns;      /* when that was; 0: never */
    bool jumped;
    int64_t jump_ms;         /* then: how far it is off, */
    uint64_t jumped_ns;      /* and when it jumped there */
};

/* The date in milliseconds since 1970. */
int64_t wall_clock_now(struct wall_clock *c);

/* The same when the system's clocks show this. */
int64_t wall_clock_look(struct wall_clock *c, int64_t wall_ms, uint64_t now_ns);

#endif
