#include "base/id.h"

#include <errno.h>
#include <sys/random.h>

#include "base/ensure.h"

struct id id_mint(void)
{
    struct id id;
    ENSURE(getrandom(id.bytes, ID_SIZE, 0) == ID_SIZE);
    return id;
}

bool id_eq(const struct id *a, const struct id *b)
{
    return memcmp(a->bytes, b->bytes, ID_SIZE) == 0;
}

bool id_is_zero(const struct id *a)
{
    return id_eq(a, &(struct id){{0}});
}

void id_format(struct buf *out, const struct id *id)
{
    char *to = buf_reserve(out, ID_TEXT_SIZE);
    for (int i = 0; i < ID_SIZE; i++) {
        *to++ = "0123456789abcdef"[id->bytes[i] >> 4];
        *to++ = "0123456789abcdef"[id->bytes[i] & 15];
    }
    out->end += ID_TEXT_SIZE;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int id_parse(slice text, struct id *out)
{
    struct id id;
    if (text.n != ID_TEXT_SIZE)
        return -EINVAL;
    for (size_t i = 0; i < ID_SIZE; i++) {
        int high = hex_value(text.p[2 * i]), low = hex_value(text.p[2 * i + 1]);
        if (high < 0 || low < 0)
            return -EINVAL;
        id.bytes[i] = (unsigned char)(high << 4 | low);
    }
    *out = id;
    return 0;
}
