/*
 * A slice is borrowed bytes: a pointer and a length, never owned and never NUL-terminated.
 *
 * It is passed by value. A function that returns or stores one says how long it stays valid; an argument stays valid at
 * least until the called function returns.
 */
#ifndef BASE_SLICE_H
#define BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct slice {
    const char *p;
    size_t n;
} slice;

#define SLICE(literal) ((slice){"" literal, sizeof(literal) - 1})
#define SLICE_ARGS(s) ((int)(s).n), ((s).p)  /* for "%.*s" */

static inline slice slice_of(const char *p, size_t n)
{
    return (slice){p, n};
}

static inline slice slice_from(const char *cstr)
{
    return (slice){cstr, strlen(cstr)};
}

static inline bool slice_eq(slice a, slice b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* The pointer of an empty slice may be NULL, to which C does not allow 0 to be added. */
static inline slice slice_skip(slice s, size_t n)
{
    return n ? (slice){s.p + n, s.n - n} : s;
}

bool slice_starts(slice s, slice prefix);

/* Equal apart from the case of ASCII letters, in any locale. */
bool slice_same_letters(slice a, slice b);   /* of equal size */
static inline bool slice_ieq(slice a, slice b)
{
    return a.n == b.n && slice_same_letters(a, b);
}

/* Negative, 0 or positive: by bytes, a prefix before what it begins. */
int slice_compare(slice a, slice b);

/* `*` in the pattern stands for any characters, `?` for one. */
bool slice_matches(slice pattern, slice text);

/* Without the spaces and tabs at both ends. */
static inline slice slice_trim(slice s)
{
    for (; s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t'); s.n--)
        s.p++;
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

/* Cuts the part before the first `by` off the front of *rest; false once nothing is left. */
bool slice_split(slice *rest, char by, slice *part);

/* Digits only, no sign, no blanks. 0, or -ERANGE past 2^64-1, or -EINVAL; *out is then untouched. */
int slice_u64(slice s, uint64_t *out);

#endif
