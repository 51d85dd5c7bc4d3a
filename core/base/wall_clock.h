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
 * The first look believes it, unless it is behind the newest message, as on a machine that begins without a clock of
 * its own: retention by age would delete what it dates as soon as it is set. Then it begins as jumped, with the date of
 * that message, until the clock is there or beyond. A clock that is ahead of all messages cannot be told from a long
 * pause, and what it dates is kept for longer. Used on one thread.
 */
#ifndef BASE_WALL_CLOCK_H
#define BASE_WALL_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

struct wall_clock {
    int64_t date_ms;         /* at the last look while steady */
    uint64_t looked_ns;      /* when that was; 0: never */
    bool jumped;
    bool least;              /* then: the date is only known not to be earlier, because it began so */
    int64_t jump_ms;         /* then: how far it is off, */
    uint64_t jumped_ns;      /* and when it jumped there */
};

/* Before the first look: the date of the newest message, 0: there is none. `set`: the kernel says that the clock is
 * kept right (clock_is_set), and it is believed in any case. */
void wall_clock_begin(struct wall_clock *c, int64_t newest_ms, int64_t wall_ms, uint64_t now_ns, bool set);

/* The date in milliseconds since 1970. */
int64_t wall_clock_now(struct wall_clock *c);

/* The same when the system's clocks show this. */
int64_t wall_clock_look(struct wall_clock *c, int64_t wall_ms, uint64_t now_ns);

#endif
