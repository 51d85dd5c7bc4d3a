/*
 * Chunked bodies, by a state machine that takes one byte at a time, except that a chunk's data is moved as a block.
 *
 *     size-line: 1*HEXDIG [ ";" text ] CRLF    then data CRLF; a size of 0 ends the data
 *     trailers:  *( token ":" text CRLF ) CRLF
 */
#include "net/http_chars.h"
#include "net/http_parse.h"

enum state {
    SIZE_FIRST,  /* at least one digit */
    SIZE,
    EXTENSION,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER_FIRST,
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_LF,
    END_LF,
    END,
    BAD,
};

/* Leaves room to add a body's length without overflow. */
#define CHUNK_SIZE_MAX (UINT64_MAX >> 8)

static enum state size_step(struct http_chunks *c, char b)
{
    if (++c->line_bytes > HTTP_CHUNK_LINE_MAX)
        return BAD;
    if (c->state == SIZE_LF) {
        c->line_bytes = 0;
        return b != '\n' ? BAD : c->left > 0 ? DATA : TRAILER_FIRST;
    }
    if (c->state != EXTENSION && char_is(b, CHAR_HEX)) {
        if (c->left > CHUNK_SIZE_MAX >> 4)
            return BAD;
        c->left = c->left << 4 | char_hex(b);
        return SIZE;
    }
    if (c->state == SIZE_FIRST)
        return BAD;
    if (b == '\r')
        return SIZE_LF;
    if (c->state == EXTENSION)
        return char_is(b, CHAR_TEXT) ? EXTENSION : BAD;
    return b == ';' ? EXTENSION : BAD;
}

static enum state trailer_step(struct http_chunks *c, char b)
{
    if (++c->trailer_bytes > HTTP_TRAILERS_MAX)
        return BAD;
    switch (c->state) {
    case TRAILER_FIRST:
        return b == '\r' ? END_LF : char_is(b, CHAR_TOKEN) ? TRAILER_NAME : BAD;
    case TRAILER_NAME:
        return b == ':' ? TRAILER_VALUE : char_is(b, CHAR_TOKEN) ? TRAILER_NAME : BAD;
    case TRAILER_VALUE:
        return b == '\r' ? TRAILER_LF : char_is(b, CHAR_TEXT) ? TRAILER_VALUE : BAD;
    case TRAILER_LF:
        return b == '\n' ? TRAILER_FIRST : BAD;
    default:
        return b == '\n' ? END : BAD;
    }
}

static enum state step(struct http_chunks *c, char b)
{
    if (c->state <= SIZE_LF)
        return size_step(c, b);
    if (c->state == DATA_CR)
        return b == '\r' ? DATA_LF : BAD;
    if (c->state == DATA_LF)
        return b == '\n' ? SIZE_FIRST : BAD;
    return c->state >= END ? BAD : trailer_step(c, b);
}

long http_chunks_feed(struct http_chunks *c, char *p, size_t n, size_t *decoded, bool *done)
{
    size_t i = 0, out = 0;
    while (i < n && c->state != END) {
        if (c->state == DATA) {
            size_t moved = n - i < c->left ? n - i : (size_t)c->left;
            memmove(p + out, p + i, moved);
            i += moved;
            out += moved;
            c->left -= moved;
            if (c->left == 0)
                c->state = DATA_CR;
            continue;
        }
        c->state = (int)step(c, p[i++]);
        if (c->state == BAD)
            return HTTP_BAD;
    }
    *decoded = out;
    *done = c->state == END;
    return (long)i;
}
