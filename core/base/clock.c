#include "base/clock.h"

#include <errno.h>
#include <sys/timex.h>
#include <time.h>

/* The years 0000 to 9999, which is all that RFC 3339 can write. */
#define WALL_MS_MIN INT64_C(-62167219200000)
#define WALL_MS_MAX INT64_C(253402300799999)

enum { SECOND_SIZE = sizeof "2026-11-23T10:00:00." - 1 };

static uint64_t read_ns(clockid_t which)
{
    struct timespec t;
    clock_gettime(which, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

enum { HELD_FROM_S = 1000 };      /* clock_ns() when it is held: a node that has run for a while */

/* wall_ms: what the wall clock shows at 0 of the monotonic one. */
static struct { bool held; uint64_t ns; int64_t wall_ms; } hold;

void clock_hold(int64_t wall_ms)
{
    hold.held = true;
    hold.ns = HELD_FROM_S * NS_PER_S;
    hold.wall_ms = wall_ms - HELD_FROM_S * MS_PER_S;
}

void clock_release(void)
{
    hold.held = false;
}

bool clock_is_held(void)
{
    return hold.held;
}

void clock_forward(uint64_t to_ns)
{
    if (to_ns > hold.ns)
        hold.ns = to_ns;
}

/* BOOTTIME runs on while the machine is suspended, as time does for other nodes: a leader that was suspended has to
 * notice that its lease is over. */
uint64_t clock_real_ns(void)
{
    return read_ns(CLOCK_BOOTTIME);
}

uint64_t clock_ns(void)
{
    return hold.held ? hold.ns : clock_real_ns();
}

int64_t clock_wall_ms(void)
{
    return hold.held ? hold.wall_ms + (int64_t)(hold.ns / NS_PER_MS) : (int64_t)(read_ns(CLOCK_REALTIME) / NS_PER_MS);
}

bool clock_is_set(void)
{
    struct timex t = {0};
    int state = adjtimex(&t);
    return state >= 0 && state != TIME_ERROR && !(t.status & STA_UNSYNC);
}

uint64_t clock_cpu_ns(void)
{
    return read_ns(CLOCK_PROCESS_CPUTIME_ID);
}

static void put_digits(char *to, int width, int v)
{
    for (; width > 0; v /= 10)
        to[--width] = (char)('0' + v % 10);
}

/* The last second is cached, because many messages of one second are rendered in a row. Only the loop thread formats
 * dates. */
static const char *format_second(int64_t second)
{
    static int64_t cached = INT64_MIN;
    static char text[] = "0000-00-00T00:00:00.";
    if (second == cached)
        return text;
    struct tm tm;
    gmtime_r(&(time_t){second}, &tm);
    put_digits(text, 4, tm.tm_year + 1900);
    put_digits(text + 5, 2, tm.tm_mon + 1);
    put_digits(text + 8, 2, tm.tm_mday);
    put_digits(text + 11, 2, tm.tm_hour);
    put_digits(text + 14, 2, tm.tm_min);
    put_digits(text + 17, 2, tm.tm_sec);
    cached = second;
    return text;
}

void clock_format(struct buf *out, int64_t wall_ms)
{
    if (wall_ms < WALL_MS_MIN)
        wall_ms = WALL_MS_MIN;
    if (wall_ms > WALL_MS_MAX)
        wall_ms = WALL_MS_MAX;
    int ms = (int)((wall_ms % MS_PER_S + MS_PER_S) % MS_PER_S);
    char *to = buf_reserve(out, SECOND_SIZE + 4);
    memcpy(to, format_second((wall_ms - ms) / MS_PER_S), SECOND_SIZE);
    put_digits(to + SECOND_SIZE, 3, ms);
    to[SECOND_SIZE + 3] = 'Z';
    out->end += SECOND_SIZE + 4;
}

static bool take_char(slice *s, char c)
{
    if (s->n == 0 || s->p[0] != c)
        return false;
    *s = slice_skip(*s, 1);
    return true;
}

static bool take_digits(slice *s, size_t width, int *out)
{
    uint64_t v;
    if (s->n < width || slice_u64(slice_of(s->p, width), &v) < 0)
        return false;
    *s = slice_skip(*s, width);
    *out = (int)v;
    return true;
}

/* Any number of digits is accepted; those after the third are ignored. */
static bool take_fraction(slice *s, int *ms)
{
    int digit, worth = 100;
    *ms = 0;
    if (!take_char(s, '.'))
        return true;
    if (!take_digits(s, 1, &digit))
        return false;
    do {
        *ms += digit * worth;
        worth /= 10;
    } while (take_digits(s, 1, &digit));
    return true;
}

static bool take_zone(slice *s, int *east_min)
{
    int h, min;
    *east_min = 0;
    if (take_char(s, 'Z'))
        return true;
    int sign = take_char(s, '+') ? 1 : take_char(s, '-') ? -1 : 0;
    if (sign == 0)
        return false;
    if (!take_digits(s, 2, &h) || !take_char(s, ':') || !take_digits(s, 2, &min))
        return false;
    *east_min = sign * (h * 60 + min);
    return h < 24 && min < 60;
}

static bool take_date_time(slice *s, struct tm *t)
{
    *t = (struct tm){0};
    if (!take_digits(s, 4, &t->tm_year) || !take_char(s, '-'))
        return false;
    if (!take_digits(s, 2, &t->tm_mon) || !take_char(s, '-'))
        return false;
    if (!take_digits(s, 2, &t->tm_mday) || !take_char(s, 'T'))
        return false;
    if (!take_digits(s, 2, &t->tm_hour) || !take_char(s, ':'))
        return false;
    if (!take_digits(s, 2, &t->tm_min) || !take_char(s, ':'))
        return false;
    t->tm_year -= 1900;
    t->tm_mon -= 1;
    return take_digits(s, 2, &t->tm_sec);
}

/* timegm turns the 31st of February into a day of March: a field that it changed was not valid. */
static bool to_second(const struct tm *given, int64_t *second)
{
    struct tm t = *given;
    *second = timegm(&t);
    return t.tm_mon == given->tm_mon && t.tm_mday == given->tm_mday && t.tm_hour == given->tm_hour
        && t.tm_min == given->tm_min && t.tm_sec == given->tm_sec;
}

int clock_parse(slice text, int64_t *wall_ms)
{
    struct tm t;
    int64_t second;
    int ms, east_min;
    if (!take_date_time(&text, &t) || !to_second(&t, &second))
        return -EINVAL;
    if (!take_fraction(&text, &ms) || !take_zone(&text, &east_min) || text.n > 0)
        return -EINVAL;
    *wall_ms = (second - east_min * 60) * MS_PER_S + ms;
    return 0;
}
