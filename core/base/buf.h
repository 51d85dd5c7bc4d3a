/*
 * A growable byte buffer that is filled at the end and consumed from the front.
 *
 * A zeroed struct is a valid empty buffer that owns no memory. Pointers into it live until the next
 * call that may grow it.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "base/slice.h"

struct buf {
    char *data;   /* owned */
    size_t at;    /* first byte not yet consumed */
    size_t end;   /* first free byte */
    size_t cap;
};

static inline size_t buf_size(const struct buf *b)
{
    return b->end - b->at;
}

static inline slice buf_slice(const struct buf *b)
{
    return (slice){b->at ? b->data + b->at : b->data, b->end - b->at};
}

/* The rare case of buf_reserve. */
char *buf_make_room(struct buf *b, size_t n);

/* Makes room for n more bytes and returns where to write them; b->end is the caller's to move. These four are inline,
 * because rendering calls them for a few bytes each, and the compiler then knows how many. */
static inline char *buf_reserve(struct buf *b, size_t n)
{
    return b->data && b->cap - b->end >= n ? b->data + b->end : buf_make_room(b, n);
}

static inline void buf_add(struct buf *b, const void *p, size_t n)
{
    if (n == 0)
        return;
    memcpy(buf_reserve(b, n), p, n);
    b->end += n;
}

static inline void buf_add_slice(struct buf *b, slice s)
{
    buf_add(b, s.p, s.n);
}

static inline void buf_add_char(struct buf *b, char c)
{
    *buf_reserve(b, 1) = c;
    b->end++;
}

/* Decimal; buf_add_digits: at least 10. */
void buf_add_digits(struct buf *b, uint64_t v);

static inline void buf_add_u64(struct buf *b, uint64_t v)
{
    if (v < 10)
        buf_add_char(b, (char)('0' + v));
    else
        buf_add_digits(b, v);
}

void buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Removes n bytes at the front. An emptied buffer starts again at the beginning of its memory. */
void buf_drop(struct buf *b, size_t n);

/* Empties it and keeps the memory. */
void buf_clear(struct buf *b);

/* Empties it and frees the memory. */
void buf_fini(struct buf *b);

/* Moves all of from's bytes and memory to `to`, which must own nothing; from is then empty. */
void buf_move(struct buf *to, struct buf *from);

#endif
