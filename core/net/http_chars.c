#include "net/http_chars.h"

#include <stdint.h>
#include <string.h>

enum {
    TARGET = CHAR_PATH | CHAR_QUERY,
    NAME = CHAR_TEXT | CHAR_TOKEN | TARGET | CHAR_HOST,  /* allowed everywhere */
};

const unsigned char http_chars[256] = {
    ['\t'] = CHAR_TEXT,
    [' '] = CHAR_TEXT,
    ['!'] = NAME,
    ['"'] = CHAR_TEXT,
    ['#'] = CHAR_TEXT | CHAR_TOKEN,
    ['$'] = NAME,
    ['%'] = CHAR_TEXT | CHAR_TOKEN | TARGET,
    ['&'] = NAME,
    ['\''] = NAME,
    ['('] = CHAR_TEXT | TARGET | CHAR_HOST,
    [')'] = CHAR_TEXT | TARGET | CHAR_HOST,
    ['*'] = NAME,
    ['+'] = NAME,
    [','] = CHAR_TEXT | TARGET | CHAR_HOST,
    ['-'] = NAME,
    ['.'] = NAME,
    ['/'] = CHAR_TEXT | TARGET,
    ['0' ... '9'] = NAME | CHAR_HEX | CHAR_DIGIT,
    [':'] = CHAR_TEXT | TARGET,
    [';'] = CHAR_TEXT | TARGET | CHAR_HOST,
    ['<'] = CHAR_TEXT,
    ['='] = CHAR_TEXT | TARGET | CHAR_HOST,
    ['>'] = CHAR_TEXT,
    ['?'] = CHAR_TEXT | CHAR_QUERY,
    ['@'] = CHAR_TEXT | TARGET,
    ['A' ... 'F'] = NAME | CHAR_HEX,
    ['G' ... 'Z'] = NAME,
    ['['] = CHAR_TEXT,
    ['\\'] = CHAR_TEXT,
    [']'] = CHAR_TEXT,
    ['^'] = CHAR_TEXT | CHAR_TOKEN,
    ['_'] = NAME,
    ['`'] = CHAR_TEXT | CHAR_TOKEN,
    ['a' ... 'f'] = NAME | CHAR_HEX,
    ['g' ... 'z'] = NAME,
    ['{'] = CHAR_TEXT,
    ['|'] = CHAR_TEXT | CHAR_TOKEN,
    ['}'] = CHAR_TEXT,
    ['~'] = NAME,
    [0x80 ... 0xff] = CHAR_TEXT,
};

#define EVERY_BYTE(b) (UINT64_C(0x0101010101010101) * (b))

/* True when one of these eight bytes is below 0x20 or 0x7f; sometimes also when none is. */
static bool word_has_control(const char *p)
{
    uint64_t w;
    memcpy(&w, p, sizeof w);
    uint64_t low = (w - EVERY_BYTE(0x20)) & ~w;
    uint64_t del = w ^ EVERY_BYTE(0x7f);
    return ((low | ((del - EVERY_BYTE(1)) & ~del)) & EVERY_BYTE(0x80)) != 0;
}

size_t chars_text(const char *p, size_t at, size_t n)
{
    while (at < n) {
        if (n - at >= 8 && !word_has_control(p + at)) {
            at += 8;
            continue;
        }
        size_t stop = n - at < 8 ? n : at + 8;
        while (at < stop && char_is(p[at], CHAR_TEXT))
            at++;
        if (at < stop)
            break;
    }
    return at;
}
