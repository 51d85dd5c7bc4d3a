#include "net/http_chars.h"

#include "base/bytes.h"

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

/* A stride at a time, up to the next control byte. */
size_t chars_text(const char *p, size_t at, size_t n)
{
    while (at < n) {
        if (n - at >= STRIDE) {
            stride v = stride_load(p + at);
            size_t text = bytes_before(bytes_or(bytes_below(v, ' '), bytes_equal(v, 0x7f)));
            at += text;
            if (text == STRIDE)
                continue;
        }
        if (!char_is(p[at], CHAR_TEXT))
            break;
        at++;
    }
    return at;
}
