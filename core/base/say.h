/*
 * Diagnostics: one line each on standard error, for an operator and for a log collector:
 *
 *     2026-11-23T10:00:00.000Z info store: recovered topic=orders next=42 torn_bytes=0
 *
 * `area` is the layer or file that speaks, the text is a sentence fragment followed by key=value
 * fields. Something is said once, where it is decided on. Never waits for anybody but stderr.
 */
#ifndef BASE_SAY_H
#define BASE_SAY_H

#include "base/slice.h"

enum say_level { SAY_DEBUG, SAY_INFO, SAY_WARN, SAY_ERROR };

void say_set_level(enum say_level least);
int say_level_parse(slice name, enum say_level *out);  /* "debug" ... "error"; 0 or -EINVAL */

/* Control characters in the text come out as \xNN, so a message cannot forge a second line. */
void say(enum say_level level, const char *area, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#define say_debug(area, ...) say(SAY_DEBUG, area, __VA_ARGS__)
#define say_info(area, ...) say(SAY_INFO, area, __VA_ARGS__)
#define say_warn(area, ...) say(SAY_WARN, area, __VA_ARGS__)
#define say_error(area, ...) say(SAY_ERROR, area, __VA_ARGS__)

/* Says an error and ends the process with this exit code: a promise cannot be kept any more. */
_Noreturn void say_fatal(int exit_code, const char *area, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Bounds how often lines of one kind are said that somebody else can cause, above all a stranger at a port. A zeroed
 * one is ready. Lines that are left out are counted, and the count is said. */
struct say_limit {
    uint64_t since_ns;   /* of the window */
    unsigned said, left_out;
    enum say_level level;
    const char *area;
};

enum { SAY_LIMIT_LINES = 5, SAY_LIMIT_S = 10 };

void say_limited(struct say_limit *l, enum say_level level, const char *area, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* To be called from time to time: says the count once the window is over. */
void say_limit_end(struct say_limit *l);

enum {
    EXIT_USAGE = 64,     /* a mistake in flags or configuration (sysexits EX_USAGE) */
    EXIT_DATA = 65,      /* the data directory cannot be used */
    EXIT_UNAVAILABLE = 69, /* nobody answers (sysexits EX_UNAVAILABLE) */
    EXIT_SOFTWARE = 70,  /* out of memory, a bug */
    EXIT_IO = 74,        /* a write or fsync failed (sysexits EX_IOERR) */
    EXIT_RESTART = 75,   /* start it again and all is well (sysexits EX_TEMPFAIL) */
};

#endif
