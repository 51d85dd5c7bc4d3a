#include "broker/group/due.h"

#include "base/clock.h"
#include "base/limits.h"
#include "store/format/record.h"

enum { DIGITS_MAX = 8, FRACTION_DIGITS = 3 };   /* of seconds up to a year; of thousandths */

/* "30", "0.25": digits, and up to three more after a point. */
static bool parse_delay(slice text, int64_t *ms)
{
    slice rest = text, whole;
    uint64_t seconds, thousandths = 0;
    if (!slice_split(&rest, '.', &whole) || whole.n > DIGITS_MAX || slice_u64(whole, &seconds) < 0)
        return false;
    bool point = whole.n < text.n;
    if (point && (rest.n == 0 || rest.n > FRACTION_DIGITS || slice_u64(rest, &thousandths) < 0))
        return false;
    for (size_t i = rest.n; point && i < FRACTION_DIGITS; i++)
        thousandths *= 10;
    *ms = (int64_t)(seconds * MS_PER_S + thousandths);
    return (uint64_t)*ms <= GROUP_DELAY_MS_MAX;
}

const char *due_check(slice name, slice value, int64_t now_ms)
{
    int64_t ms;
    if (slice_ieq(name, DUE_DELAY))
        return parse_delay(value, &ms) ? NULL : "must be seconds from 0 to 31622400, with at most three decimals";
    if (slice_ieq(name, DUE_TTL))
        return parse_delay(value, &ms) && ms > 0
                   ? NULL : "must be seconds from 0.001 to 31622400, with at most three decimals";
    if (clock_parse(value, &ms) < 0)
        return "must be a time such as 2026-11-30T10:00:00Z";
    return ms - now_ms <= (int64_t)GROUP_DELAY_MS_MAX ? NULL : "must be at most 366 days from now";
}

struct due due_of(slice headers, int64_t time_ms)
{
    slice name, value;
    struct due due = {0, INT64_MAX};
    int64_t ms;
    while (header_read(&headers, &name, &value)) {
        if (slice_eq(name, DUE_DELAY) && parse_delay(value, &ms))
            due.from_ms = time_ms + ms;
        else if (slice_eq(name, DUE_AT) && clock_parse(value, &ms) == 0)
            due.from_ms = ms;
        else if (slice_eq(name, DUE_TTL) && parse_delay(value, &ms))
            due.until_ms = time_ms + ms;
    }
    if (due.from_ms > time_ms + (int64_t)GROUP_DELAY_MS_MAX)
        due.from_ms = time_ms + (int64_t)GROUP_DELAY_MS_MAX;
    return due;
}
