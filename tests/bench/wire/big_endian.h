/*
 * Integers of 1 to 8 bytes as AMQP has them: big-endian.
 */
#ifndef WIRE_BIG_ENDIAN_H
#define WIRE_BIG_ENDIAN_H

#include "base/buf.h"

static inline void u_add(struct buf *out, uint64_t v, int bytes)
{
    for (int shift = (bytes - 1) * 8; shift >= 0; shift -= 8)
        buf_add_char(out, (char)(v >> shift));
}

static inline uint32_t u_at(const char *p, int bytes)
{
    uint32_t v = 0;
    for (int i = 0; i < bytes; i++)
        v = v << 8 | (unsigned char)p[i];
    return v;
}

#endif
