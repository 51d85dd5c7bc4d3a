#include "script/http/read_query.h"

#include <string.h>

#include "base/limits.h"
#include "net/http_parse.h"
#include "script/message/token.h"

#define ABSENT UINT64_MAX

static bool parse_number(slice text, size_t digits, uint64_t *out)
{
    return text.n <= digits && slice_u64(text, out) == 0;
}

/* An offset, or epoch:offset, or epoch:offset:topic. Many clients escape the colons. */
static bool parse_from(slice text, struct read_query *q)
{
    char plain[TOKEN_TEXT_MAX + 4];
    if (text.n > sizeof(plain))
        return false;
    long n = http_unescape(text, plain, true);
    slice from = slice_of(plain, n < 0 ? 0 : (size_t)n);
    q->has_token = memchr(plain, ':', from.n) != NULL;
    if (!q->has_token)
        return parse_number(from, OFFSET_DIGITS_MAX, &q->from);
    if (!token_read(from, &q->token))
        return false;
    q->from = q->token.offset;
    return true;
}

static bool take_pair(struct read_query *q, slice name, slice value)
{
    const struct {
        slice name;
        uint64_t *value;
    } numbers[] = {{SLICE("to"), &q->to}, {SLICE("limit"), &q->limit}, {SLICE("bytes"), &q->bytes},
                   {SLICE("wait"), &q->wait_s}};
    if (slice_eq(name, SLICE("from")))
        return q->from == ABSENT && parse_from(value, q);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        if (slice_eq(name, numbers[i].name))
            return *numbers[i].value == ABSENT && parse_number(value, OFFSET_DIGITS_MAX, numbers[i].value);
    return false;
}

/* Sets an absent number to `otherwise`. False: a given one is not within [least, most]. */
static bool check_bounds(uint64_t *value, uint64_t least, uint64_t most, uint64_t otherwise)
{
    if (*value == ABSENT)
        *value = otherwise;
    return *value == otherwise || (*value >= least && *value <= most);
}

bool read_query_parse(slice text, struct read_query *q)
{
    slice value;
    slice name;
    *q = (struct read_query){.from = ABSENT, .to = ABSENT, .limit = ABSENT, .bytes = ABSENT, .wait_s = ABSENT};
    while (slice_split(&text, '&', &value))
        if (!slice_split(&value, '=', &name) || !take_pair(q, name, value))
            return false;
    return q->from <= JSON_INTEGER_MAX && check_bounds(&q->to, q->from + 1, JSON_INTEGER_MAX, UINT64_MAX) &&
           check_bounds(&q->limit, 1, READ_COUNT_MAX, READ_COUNT_DEFAULT) &&
           check_bounds(&q->bytes, 1, READ_SIZE_MAX, READ_SIZE_DEFAULT) &&
           check_bounds(&q->wait_s, 0, WAIT_MS_MAX / 1000, 0);
}
