/*
 * Diagnostics: one line each on standard error, for an operator and for a log collector:
 *
 *     2026-11-23T10:00:00.000Z info store: recovered topic=orders next=42 torn_bytes=0
 *
 * `area` is the layer or file that says it, the text is a sentence fragment followed by key=value fields. An error is
 * said once, by the function that decides what to do about it. Only the loop thread may say anything.
 *
 * A line that stderr does not take at once is lost: what reads the log must not be able to stop the node. Lost lines
 * are counted, and the first line that is taken again is preceded by one with their number.
 */
#ifndef BASE_SAY_H
#define BASE_SAY_H

#include "base/buf.h"
#include "base/exit_code.h"

enum say_level { SAY_DEBUG, SAY_INFO, SAY_WARN, SAY_ERROR };

/* base/say_line.h shows them. SAY_JOURNAL is what SAY_TEXT becomes when standard error is systemd's journal. */
enum say_format { SAY_TEXT, SAY_JSON, SAY_JOURNAL };

/* At the start of a server: from then on no write to stderr waits. Without this call a line waits until stderr takes
 * it, as a command's user expects. */
void say_nonblocking(void);

uint64_t say_lost(void);   /* lines lost since the start */

void say_set_level(enum say_level least);
int say_level_parse(slice name, enum say_level *out);  /* "debug" ... "error"; 0 or -EINVAL */

void say_set_format(enum say_format format);
int say_format_parse(slice name, enum say_format *out);  /* "text", "json"; 0 or -EINVAL */

/* Control characters in the text, and bytes that are not UTF-8, are written as \xNN, so that no text from outside can
 * forge a second line; JSON has its own escapes for them. */
void say(enum say_level level, const char *area, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The same for text of which a client or script may have chosen any part: what looks like a field in it stays text. The
 * fields are `fields`, as say_field writes them. */
void say_text(enum say_level level, const char *area, slice text, slice fields);

/* Appends ` name=value`: one plain word as it stands, and anything else as a JSON string. `name` has letters, digits, _
 * and . only. */
void say_field(struct buf *out, const char *name, slice value);

#define say_debug(area, ...) say(SAY_DEBUG, area, __VA_ARGS__)
#define say_info(area, ...) say(SAY_INFO, area, __VA_ARGS__)
#define say_warn(area, ...) say(SAY_WARN, area, __VA_ARGS__)
#define say_error(area, ...) say(SAY_ERROR, area, __VA_ARGS__)

/* Says an error and exits at once with this code, when the node could otherwise break a promise to its clients. */
_Noreturn void say_fatal(int exit_code, const char *area, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Limits how often lines of one kind are said that others can cause, above all a stranger at a port. A zeroed one is
 * ready. Lines above the limit are counted, and the count is said. After a window that left lines out, the next one has
 * room for one line, so that what goes on for hours does not fill a log. */
struct say_limit {
    uint64_t since_ns;   /* when the window began; 0: there is none */
    unsigned said, left_out;
    bool busy;           /* the window before left lines out */
    enum say_level level;
    const char *area;
};

enum { SAY_LIMIT_LINES = 5, SAY_LIMIT_S = 10 };

void say_limited(struct say_limit *l, enum say_level level, const char *area, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* To be called from time to time: says the count once the window is over. */
void say_limit_end(struct say_limit *l);

#endif
