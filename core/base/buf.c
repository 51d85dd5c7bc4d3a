#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/ensure.h"
#include "base/mem.h"

enum { CAP_MIN = 128, DIGITS_MAX = 20 };

/* A move copies at most as many bytes as were consumed, or else the buffer doubles: the total cost stays linear. */
char *buf_make_room(struct buf *b, size_t n)
{
    size_t size = buf_size(b);
    ENSURE(n <= SIZE_MAX / 4 - size);
    if (size > 0 && b->at > 0)
        memmove(b->data, b->data + b->at, size);
    if (b->at < size || b->cap - size <= n) {  /* also when there is no memory yet */
        size_t cap = b->cap * 2 < CAP_MIN ? CAP_MIN : b->cap * 2;
        b->cap = size + n > cap ? size + n : cap;
        b->data = mem_resize(b->data, b->cap);
    }
    b->at = 0;
    b->end = size;
    return b->data + size;
}

/* Two digits a step, and a copy of fixed size, because every rendered message contains numbers. */
void buf_add_digits(struct buf *b, uint64_t v)
{
    static const char pairs[] =
        "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
        "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
        "8081828384858687888990919293949596979899";
    char digits[2 * DIGITS_MAX] = {0};
    size_t at = DIGITS_MAX;
    for (; v >= 10; v /= 100) {
        const char *pair = pairs + v % 100 * 2;
        digits[--at] = pair[1];
        digits[--at] = pair[0];
    }
    if (v > 0)
        digits[--at] = (char)('0' + v);
    memcpy(buf_reserve(b, DIGITS_MAX), digits + at, DIGITS_MAX);
    b->end += DIGITS_MAX - at;
}

void buf_addf(struct buf *b, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    char *to = buf_reserve(b, CAP_MIN);
    int n = vsnprintf(to, b->cap - b->end, fmt, args);
    ENSURE(n >= 0);
    if ((size_t)n >= b->cap - b->end) {
        to = buf_reserve(b, (size_t)n + 1);
        vsnprintf(to, (size_t)n + 1, fmt, again);
    }
    b->end += (size_t)n;
    va_end(again);
    va_end(args);
}

void buf_drop(struct buf *b, size_t n)
{
    ENSURE(n <= buf_size(b));
    b->at += n;
    if (b->at == b->end)
        buf_clear(b);
}

void buf_clear(struct buf *b)
{
    b->at = b->end = 0;
}

void buf_fini(struct buf *b)
{
    mem_free(b->data);
    *b = (struct buf){0};
}

void buf_move(struct buf *to, struct buf *from)
{
    ENSURE(!to->data);
    *to = *from;
    *from = (struct buf){0};
}
