#include "base/say.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

/* The size that a pipe takes atomically, so that lines of several processes do not mix. */
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

/* A line that stderr does not take is lost. */
__attribute__((format(printf, 3, 0)))
static void say_args(enum say_level level, const char *area, const char *fmt, va_list args)
{
    static struct buf line;  /* kept, so that memory is allocated only once */
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

void say_limit_end(struct say_limit *l)
{
    if (l->since_ns == 0 || clock_ns() - l->since_ns < SAY_LIMIT_S * NS_PER_S)
        return;
    if (l->left_out > 0)
        say(l->level, l->area, "left out %u more lines of this kind in the last %d s", l->left_out, SAY_LIMIT_S);
    *l = (struct say_limit){0};
}

void say_limited(struct say_limit *l, enum say_level level, const char *area, const char *fmt, ...)
{
    say_limit_end(l);
    if (l->since_ns == 0)
        l->since_ns = clock_ns();
    l->level = level;
    l->area = area;
    if (l->said == SAY_LIMIT_LINES) {
        l->left_out++;
        return;
    }
    l->said++;
    if (level < least_level)
        return;
    va_list args;
    va_start(args, fmt);
    say_args(level, area, fmt, args);
    va_end(args);
}

/* _exit runs no exit handlers: what they would still send or write could break a promise. */
void say_fatal(int exit_code, const char *area, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    say_args(SAY_ERROR, area, fmt, args);
    va_end(args);
    _exit(exit_code);
}
