#include "base/slice.h"

#include <errno.h>

#include "base/bytes.h"

static unsigned char lower(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
}

bool slice_starts(slice s, slice prefix)
{
    return s.n >= prefix.n && slice_eq((slice){s.p, prefix.n}, prefix);
}

/* Most words that differ do so in more than the bit of the case. */
static inline bool words_have_same_letters(const char *a, const char *b)
{
    uint64_t x = word_load(a), y = word_load(b);
    return x == y || (((x ^ y) & ~EACH_BYTE(0x20)) == 0 && word_lower(x) == word_lower(y));
}

/* By words, of which the last one ends where the text does. */
bool slice_same_letters(slice a, slice b)
{
    if (a.n >= 8) {
        size_t i = 0, last = a.n - 8;
        for (; i < last; i += 8)
            if (!words_have_same_letters(a.p + i, b.p + i))
                return false;
        return words_have_same_letters(a.p + last, b.p + last);
    }
    for (size_t i = 0; i < a.n; i++)
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
    size_t i = 0, safe = s.n < DIGITS_SAFE ? s.n : DIGITS_SAFE;
    for (; i < safe; i++) {
        unsigned digit = (unsigned char)s.p[i] - (unsigned)'0';
        if (digit > 9)
            return -EINVAL;
        v = v * 10 + digit;
    }
    for (; i < s.n; i++) {
        unsigned digit = (unsigned char)s.p[i] - (unsigned)'0';
        if (digit > 9)
            return -EINVAL;
        over |= __builtin_mul_overflow(v, UINT64_C(10), &v);
        over |= __builtin_add_overflow(v, (uint64_t)digit, &v);
    }
    if (over)
        return -ERANGE;
    *out = v;
    return 0;
}
