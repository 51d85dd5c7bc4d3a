/*
 * Lua's patterns (section 6.4.1 of its manual), matched in steps that can be counted: Lua's own matcher may take the
 * square or cube of the subject's size in one call, and is a recursion that nothing can interrupt.
 *
 * A pattern has no groups that repeat, so an attempt to match it goes through its items from left to right, and each
 * item leaves at most one choice behind to which a failure returns. The attempt is thus a machine whose whole state is
 * this struct: where it stands, the captures, and a stack of choices that is no deeper than the pattern is long.
 *
 *     phase      the attempt                                       left by
 *     RUNS       stands before an item of the pattern               the next item -> RUNS, GROWS, BALANCES, FAILS;
 *                                                                   the end of the pattern -> FOUND
 *     GROWS      takes all that the item of the top choice matches  its end -> RUNS
 *     BALANCES   looks for the end of %bxy                          its end -> RUNS; the subject's end -> FAILS
 *     FAILS      returns to the last choice                         another way -> RUNS; no choice left -> NONE
 *     FOUND, NONE, WRONG                                            match_at
 */
#ifndef SCRIPT_BIND_PATTERN_H
#define SCRIPT_BIND_PATTERN_H

#include <stddef.h>

#include "base/slice.h"

enum { PATTERN_CAPTURES_MAX = 32, PATTERN_CHOICES_MAX = 200 };

enum match_phase { MATCH_RUNS, MATCH_GROWS, MATCH_BALANCES, MATCH_FAILS, MATCH_FOUND, MATCH_NONE, MATCH_WRONG };

enum { CAPTURE_OPEN = -1, CAPTURE_POSITION = -2 };

struct capture {
    const char *from;
    ptrdiff_t size;                   /* or CAPTURE_OPEN: its end has not come, CAPTURE_POSITION: () */
};

/* What to undo, or to try next, when the rest of the pattern does not match. */
struct choice {
    enum { CHOICE_GREEDY, CHOICE_LAZY, CHOICE_OPTIONAL, CHOICE_OPENED, CHOICE_CLOSED } kind;
    unsigned capture;                 /* of CHOICE_CLOSED */
    const char *item, *item_end;      /* what repeats */
    const char *least, *at;           /* in the subject: the rest begins at `at`, of CHOICE_GREEDY not before `least` */
};

struct match {
    slice subject, pattern;           /* borrowed; the byte after each can be read, and is 0, as in Lua's strings */
    enum match_phase phase;
    unsigned left;                    /* steps until match_run returns; the caller sets it */
    const char *s, *p;                /* where it stands; s: the end of the match, once found */
    size_t depth;                     /* of BALANCES */
    const char *why;                  /* of WRONG */
    unsigned which;                   /* the number in `why`, when it names a capture */
    unsigned captures, captures_max, choices, choices_max;
    struct choice choice[];           /* choices_max, and behind them captures_max of struct capture */
};

static inline struct capture *match_capture(const struct match *m, unsigned i)
{
    return (struct capture *)(uintptr_t)(m->choice + m->choices_max) + i;
}

/* The bytes that a struct match for this pattern takes, and of any one behind its struct. */
size_t match_size(slice pattern);
enum {
    MATCH_ROOM_MAX = PATTERN_CHOICES_MAX * sizeof(struct choice) + PATTERN_CAPTURES_MAX * sizeof(struct capture),
};

/* `pattern` is without its leading ^. */
void match_init(struct match *m, slice subject, slice pattern);

/* Begins an attempt at this place of the subject, its end included. */
void match_at(struct match *m, const char *s);

/* Goes on with the attempt, for at most `left` steps of bounded time: FOUND, NONE, WRONG, or another phase when they
 * are used up. */
enum match_phase match_run(struct match *m);

/* Whether the pattern is nothing but the text to find. */
bool pattern_is_plain(slice pattern);

#endif
