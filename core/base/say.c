#include "base/say.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

/* As much as a pipe takes in one piece, so that lines of several processes do not mix. */
enum { LINE_SIZE_MAX = PIPE_BUF };

static const char *const names[] = {"debug", "info", "warn", "error"};
static enum say_level least_level = SAY_INFO;

void say_set_level(enum say_level least)
{
    least_level = least;
}

int say_level_parse(slice name, enum say_level *out)
{
    for (enum say_level l = SAY_DEBUG; l <= SAY_ERROR; l++)
        if (slice_eq(name, slice_from(names[l]))) {
            *out = l;
            return 0;
        }
    return -EINVAL;
}

static void add_visible(struct buf *out, slice text)
{
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (c < 0x20 || c == 0x7f)
            buf_addf(out, "\\x%02x", c);
        else
            buf_add_char(out, text.p[i]);
    }
}

static void end_line(struct buf *line)
{
    slice end = SLICE("\n");
    if (buf_size(line) + end.n > LINE_SIZE_MAX) {
        end = SLICE("...\n");
        line->end = line->at + LINE_SIZE_MAX - end.n;
    }
    buf_add_slice(line, end);
}

/* A line that stderr does not take is lost: there is nobody left to tell. */
__attribute__((format(printf, 3, 0)))
static void say_args(enum say_level level, const char *area, const char *fmt, va_list args)
{
    static struct buf line;  /* kept, so that saying allocates once */
    char text[LINE_SIZE_MAX];
    vsnprintf(text, sizeof text, fmt, args);
    buf_clear(&line);
    clock_format(&line, clock_wall_ms());
    buf_addf(&line, " %s %s: ", names[level], area);
    add_visible(&line, slice_from(text));
    end_line(&line);
    if (write(STDERR_FILENO, line.data, buf_size(&line)) < 0)
        return;
}

void say(enum say_level level, const char *area, const char *fmt, ...)
{
    if (level < least_level)
        return;
    va_list args;
    va_start(args, fmt);
    say_args(level, area, fmt, args);
    va_end(args);
}

/* Without exit handlers: whatever they would still send or write could be a promise. */
void say_fatal(int exit_code, const char *area, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    say_args(SAY_ERROR, area, fmt, args);
    va_end(args);
    _exit(exit_code);
}
