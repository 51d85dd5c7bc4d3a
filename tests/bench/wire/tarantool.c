/*
 * Tarantool's IPROTO: INSERT of {nil, message} into the space whose number is the URL's path; its primary key is a
 * sequence. Only the parts of MessagePack that this needs.
 */
#include "bench/wire/wire.h"

enum { GREETING = 128, REQUEST = 20, REPLY_HEAD = 12, INSERT = 2 };

static void u32_add(struct buf *out, uint32_t v)
{
    for (int shift = 24; shift >= 0; shift -= 8)
        buf_add_char(out, (char)(v >> shift));
}

static uint32_t u32_at(const char *p)
{
    const unsigned char *u = (const unsigned char *)p;
    return (uint32_t)u[0] << 24 | (uint32_t)u[1] << 16 | (uint32_t)u[2] << 8 | u[3];
}

static bool greet(int fd, const struct order *o, unsigned connection)
{
    char hello[GREETING];
    (void)o, (void)connection;
    return read_all(fd, hello, sizeof hello);
}

static void make(struct buf *out, const struct order *o, unsigned topic)
{
    struct buf space = {0};
    uint64_t number = 0;
    name_add(&space, o, topic);
    slice_u64(buf_slice(&space), &number);
    buf_fini(&space);
    for (unsigned i = 0; i == 0 || i < o->lines; i++) {
        slice message = order_message(o, i);
        buf_add_char(out, '\xce');                     /* the size of the rest */
        u32_add(out, (uint32_t)(REQUEST + message.n));
        buf_add(out, (const char[]){'\x82', 0, INSERT, 1, 0}, 5);
        buf_add(out, (const char[]){'\x82', 0x10, '\xce'}, 3);
        u32_add(out, (uint32_t)number);
        buf_add(out, (const char[]){0x21, '\x92', '\xc0', '\xdb'}, 4);
        u32_add(out, (uint32_t)message.n);             /* of a string */
        buf_add_slice(out, message);
    }
}

static int take(struct answer *a, char *in, size_t n, size_t *took)
{
    a->status = a->status ? a->status : 200;
    while (a->replies > 0 && n - *took >= REPLY_HEAD) {
        const char *at = in + *took;
        if (at[0] != '\xce' || at[6] != 0 || at[7] != '\xce')
            return -1;
        size_t size = u32_at(at + 1) + 5;
        if (n - *took < size)
            break;
        if (u32_at(at + 8) != 0)
            a->status = refused(slice_of(at + REPLY_HEAD, size - REPLY_HEAD));
        *took += size;
        a->replies--;
    }
    return a->replies == 0;
}

const struct wire wire_tarantool = {
    .scheme = "tarantool", .reply_each = true, .make = make, .greet = greet, .take = take,
};
