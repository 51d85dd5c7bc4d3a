#include "base/slice.h"

#include <errno.h>

#include "base/bytes.h"

static unsigned char lower(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

bool slice_starts(slice s, slice prefix)
{
    return s.n >= prefix.n && slice_eq((slice){s.p, prefix.n}, prefix);
}

bool slice_same_letters(slice a, slice b)
{
    size_t i = 0;
    for (; i + 8 <= a.n; i += 8) {
        uint64_t x = word_load(a.p + i), y = word_load(b.p + i);
        if (x != y && word_lower(x) != word_lower(y))
            return false;
    }
    for (; i < a.n; i++)
        if (a.p[i] != b.p[i] && lower(a.p[i]) != lower(b.p[i]))
            return false;
    return true;
}

int slice_compare(slice a, slice b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n == 0 ? 0 : memcmp(a.p, b.p, n);
    return order != 0 ? order : (a.n > b.n) - (a.n < b.n);
}

/* On a mismatch the last star takes one more character. */
bool slice_matches(slice pattern, slice text)
{
    size_t p = 0, n = 0, star = SIZE_MAX, from = 0;
    while (n < text.n) {
        if (p < pattern.n && pattern.p[p] == '*') {
            star = p++;
            from = n;
        } else if (p < pattern.n && (pattern.p[p] == '?' || pattern.p[p] == text.p[n])) {
            p++;
            n++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            n = ++from;
        } else {
            return false;
        }
    }
    while (p < pattern.n && pattern.p[p] == '*')
        p++;
    return p == pattern.n;
}

slice slice_trim(slice s)
{
    while (s.n > 0 && is_blank(s.p[0]))
        s = slice_skip(s, 1);
    while (s.n > 0 && is_blank(s.p[s.n - 1]))
        s.n--;
    return s;
}

bool slice_split(slice *rest, char by, slice *part)
{
    if (rest->n == 0)
        return false;
    const char *cut = memchr(rest->p, by, rest->n);
    size_t n = cut ? (size_t)(cut - rest->p) : rest->n;
    *part = (slice){rest->p, n};
    *rest = slice_skip(*rest, cut ? n + 1 : n);
    return true;
}

enum { DIGITS_SAFE = 19 };          /* so many are less than 2^64 */

int slice_u64(slice s, uint64_t *out)
{
    uint64_t v = 0;
    bool over = false;
    if (s.n == 0)
        return -EINVAL;
    for (size_t i = 0; i < s.n; i++) {
        unsigned digit = (unsigned char)s.p[i] - (unsigned)'0';
        if (digit > 9)
            return -EINVAL;
        if (i < DIGITS_SAFE) {
            v = v * 10 + digit;
            continue;
        }
        over |= __builtin_mul_overflow(v, UINT64_C(10), &v);
        over |= __builtin_add_overflow(v, (uint64_t)digit, &v);
    }
    if (over)
        return -ERANGE;
    *out = v;
    return 0;
}
