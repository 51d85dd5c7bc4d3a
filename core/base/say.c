#include "base/say.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/least.h"
#include "base/say_line.h"

/* The size that a pipe takes atomically, so that lines of several processes do not mix. */
enum { LINE_SIZE_MAX = PIPE_BUF };

static const char *const levels[] = {"debug", "info", "warn", "error"};
static const char *const formats[] = {"text", "json"};
static enum say_level least_level = SAY_INFO;
static enum say_format line_format = SAY_TEXT;
static bool is_journal;        /* standard error is systemd's journal */
static uint64_t lost;          /* lines since the start */
static uint64_t lost_said;     /* of them, those that a line has told of */
static bool cut;               /* the last line lacks its end */

/* systemd names its journal's stream by device and inode, because the variable outlives a redirection of standard
 * error (systemd.exec(5)). */
static bool is_named_by(const char *stream, const struct stat *st)
{
    unsigned long long device, inode;
    return stream != NULL && sscanf(stream, "%llu:%llu", &device, &inode) == 2 && device == st->st_dev &&
           inode == st->st_ino;
}

/* The flag belongs to the open file, which other processes may share: a shell whose terminal became non-blocking would
 * end. So a pipe or terminal is opened a second time, for this process alone. A pipe of another user cannot be; then it
 * is shared by what writes to the same log, and a socket is by nothing else. A file takes each line anyway.
 *
 * Replacing descriptor 2 also covers what does not come through here: the watchdog's line, and that of ENSURE. */
void say_nonblocking(void)
{
    struct stat st;
    if (fstat(STDERR_FILENO, &st) < 0)
        return;
    is_journal = is_named_by(getenv("JOURNAL_STREAM"), &st);
    if (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)) {
        int fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (fd >= 0) {
            dup2(fd, STDERR_FILENO);
            close(fd);
            return;
        }
    }
    if (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode))
        fcntl(STDERR_FILENO, F_SETFL, fcntl(STDERR_FILENO, F_GETFL) | O_NONBLOCK);
}

uint64_t say_lost(void)
{
    return lost;
}

void say_set_level(enum say_level least)
{
    least_level = least;
}

void say_set_format(enum say_format f)
{
    line_format = f;
}

int say_format_parse(slice name, enum say_format *out)
{
    for (enum say_format f = SAY_TEXT; f <= SAY_JSON; f++)
        if (slice_eq(name, slice_from(formats[f]))) {
            *out = f;
            return 0;
        }
    return -EINVAL;
}

int say_level_parse(slice name, enum say_level *out)
{
    for (enum say_level l = SAY_DEBUG; l <= SAY_ERROR; l++)
        if (slice_eq(name, slice_from(levels[l]))) {
            *out = l;
            return 0;
        }
    return -EINVAL;
}

/* False: stderr has not taken all of the line. A pipe takes all or nothing; a terminal or socket may take a part. */
static bool write_line(enum say_level level, const char *area, slice text, ptrdiff_t fields_at)
{
    static struct buf line;  /* kept, so that memory is allocated only once */
    buf_clear(&line);
    if (cut)
        buf_add_char(&line, '\n');
    bool to_journal = is_journal && line_format == SAY_TEXT;
    say_line(&line, to_journal ? SAY_JOURNAL : line_format, level, area, text, fields_at,
             LINE_SIZE_MAX - buf_size(&line));
    ssize_t n = write(STDERR_FILENO, line.data, buf_size(&line));
    if (n > 0)
        cut = (size_t)n < buf_size(&line);
    return n > 0 && !cut;
}

static void say_line_or_lose(enum say_level level, const char *area, slice line, ptrdiff_t fields_at)
{
    if (lost > lost_said) {
        char text[128];
        uint64_t told = lost;
        snprintf(text, sizeof text, "standard error did not take lines of the log lost=%llu",
                 (unsigned long long)(lost - lost_said));
        if (write_line(SAY_WARN, "say", slice_from(text), SAY_FIND_FIELDS))
            lost_said = told;
    }
    if (!write_line(level, area, line, fields_at))
        lost++;
}

__attribute__((format(printf, 3, 0)))
static void say_args(enum say_level level, const char *area, const char *fmt, va_list args)
{
    char text[LINE_SIZE_MAX];
    vsnprintf(text, sizeof text, fmt, args);
    say_line_or_lose(level, area, slice_from(text), SAY_FIND_FIELDS);
}

void say_text(enum say_level level, const char *area, slice text, slice fields)
{
    struct buf line = {0};
    if (level < least_level)
        return;
    buf_add(&line, text.p, least(text.n, LINE_SIZE_MAX / 2));     /* so that there is room for the fields */
    if (buf_size(&line) < text.n)
        buf_add_slice(&line, SLICE("..."));
    ptrdiff_t fields_at = (ptrdiff_t)buf_size(&line);
    buf_add_slice(&line, fields);
    say_line_or_lose(level, area, buf_slice(&line), fields_at);
    buf_fini(&line);
}

void say_field(struct buf *out, const char *name, slice value)
{
    bool plain = value.n > 0;
    for (size_t i = 0; i < value.n && plain; i++)
        plain = strchr(" \"=\\", value.p[i]) == NULL && (unsigned char)value.p[i] > ' ';
    buf_addf(out, " %s=", name);
    if (plain)
        buf_add_slice(out, value);
    else
        json_string(out, value);
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
    *l = (struct say_limit){.busy = l->left_out > 0};
}

void say_limited(struct say_limit *l, enum say_level level, const char *area, const char *fmt, ...)
{
    say_limit_end(l);
    if (l->since_ns == 0)
        l->since_ns = clock_ns();
    l->level = level;
    l->area = area;
    if (l->said == (l->busy ? 1 : SAY_LIMIT_LINES)) {
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
