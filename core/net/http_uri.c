#include "net/http_chars.h"
#include "net/http_parse.h"

long http_unescape(slice in, char *out, bool form)
{
    char *to = out;
    for (size_t i = 0; i < in.n; i++) {
        unsigned char c = (unsigned char)in.p[i];
        if (c == '%') {
            if (in.n - i < 3 || !char_is(in.p[i + 1], CHAR_HEX) || !char_is(in.p[i + 2], CHAR_HEX))
                return HTTP_BAD;
            c = (unsigned char)(char_hex(in.p[i + 1]) << 4 | char_hex(in.p[i + 2]));
            i += 2;
        } else if (c == '+' && form) {
            c = ' ';
        }
        if (c < 0x20 || c == 0x7f)
            return HTTP_BAD;
        *to++ = (char)c;
    }
    return to - out;
}
