#include "store/log/zero_ahead.h"

#include "store/disk/io.h"

enum { BLOCK = 4 * KIB };              /* a page; a filesystem's blocks are as large, or smaller */

static uint64_t round_up(uint64_t n)
{
    return (n + BLOCK - 1) / BLOCK * BLOCK;
}

void zero_ahead(const struct disk *d, int fd, uint64_t *zeroed, uint64_t bytes, uint64_t end, uint64_t space)
{
    static const char zeros[16 * KIB];
    uint64_t at = round_up(end);
    if (end <= *zeroed || d->copies_on_write)
        return;
    *zeroed = at;
    if (bytes > ZERO_AHEAD_FOR)
        return;
    uint64_t to = at + ZERO_AHEAD < space ? at + ZERO_AHEAD : space;
    for (; at < to; at += sizeof zeros)
        io.pwrite(fd, zeros, to - at < sizeof zeros ? (size_t)(to - at) : sizeof zeros, (off_t)at);
    *zeroed = to > *zeroed ? to : *zeroed;
}
