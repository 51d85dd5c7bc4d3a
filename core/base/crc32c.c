/*
 * The instruction takes 3 cycles, but one can start in each cycle, so long inputs are processed as three streams over
 * neighbouring blocks. A carry-less multiplication then shifts the first two checksums over the blocks that follow
 * them, and the instruction itself reduces the product.
 */
#include "base/crc32c.h"

#include <endian.h>
#include <stdbool.h>
#include <string.h>

#define POLYNOMIAL UINT32_C(0x82f63b78)  /* bit-reversed: the highest bit is x^0 */

#define ONE (UINT32_C(1) << 31)

enum { POWERS = 3 + 8 * sizeof(size_t) };

static uint32_t table[8][256];   /* [k][b]: byte b with k zero bytes after it */
static uint32_t powers[POWERS];  /* [k]: x^(2^k) */

static uint32_t times_x(uint32_t v)
{
    return v >> 1 ^ (v & 1 ? POLYNOMIAL : 0);
}

static uint32_t times(uint32_t a, uint32_t b)
{
    uint32_t product = 0;
    for (; a != 0; a <<= 1, b = times_x(b))
        product ^= a & ONE ? b : 0;
    return product;
}

/* Runs before main, so that no call on any thread has to check whether the tables are filled. */
__attribute__((constructor)) static void fill_tables(void)
{
    for (uint32_t b = 0; b < 256; b++) {
        table[0][b] = b;
        for (int i = 0; i < 8; i++)
            table[0][b] = times_x(table[0][b]);
    }
    for (int k = 1; k < 8; k++)
        for (int b = 0; b < 256; b++)
            table[k][b] = table[k - 1][b] >> 8 ^ table[0][table[k - 1][b] & 0xff];
    powers[0] = ONE >> 1;
    for (unsigned k = 1; k < POWERS; k++)
        powers[k] = times(powers[k - 1], powers[k - 1]);
}

uint32_t crc32c_shift(uint32_t crc, size_t n)
{
    for (unsigned k = 3; n > 0; k++, n >>= 1)
        if (n & 1)
            crc = times(powers[k], crc);
    return crc;
}

static inline uint64_t load_u64(const unsigned char *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

uint32_t crc32c_portable(uint32_t crc, const void *data, size_t n)
{
    const unsigned char *p = data;
    crc = ~crc;
    for (; n >= 8; n -= 8, p += 8) {
        uint64_t v = le64toh(load_u64(p)) ^ crc;
        crc = 0;
        for (int k = 0; k < 8; k++, v >>= 8)
            crc ^= table[7 - k][v & 0xff];
    }
    for (; n > 0; n--, p++)
        crc = crc >> 8 ^ table[0][(crc ^ *p) & 0xff];
    return ~crc;
}

#if defined(__x86_64__)

#include <immintrin.h>

#define ACCELERATED __attribute__((target("sse4.2,pclmul")))

/* Bytes of one stream's block: the long one for speed, the short one so that inputs of 200 bytes gain as well. */
enum { LONG = 1024, SHORT = 64 };

struct shift {
    uint32_t two, one;  /* multiplier that moves a checksum over two blocks, over one */
};

static struct shift shift_long, shift_short;
static bool has_instruction;

/* Of the shift, 32 bits are done by the reduction, and one by the product of bit-reversed factors. */
static uint32_t multiplier(int bytes)
{
    uint32_t v = ONE;
    for (int bits = bytes * 8 - 33; bits > 0; bits--)
        v = times_x(v);
    return v;
}

__attribute__((constructor)) static void detect(void)
{
    __builtin_cpu_init();
    has_instruction = __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul");
    shift_long = (struct shift){multiplier(2 * LONG), multiplier(LONG)};
    shift_short = (struct shift){multiplier(2 * SHORT), multiplier(SHORT)};
}

ACCELERATED static inline __m128i multiply(uint64_t crc, uint32_t by)
{
    return _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)crc), _mm_cvtsi32_si128((int)by), 0);
}

/* Three neighbouring blocks of `block` bytes. */
ACCELERATED static inline uint64_t add_blocks(uint64_t crc, const unsigned char *p, size_t block,
                                              struct shift shift)
{
    uint64_t a = crc, b = 0, c = 0;
    for (size_t i = 0; i < block; i += 8) {
        a = _mm_crc32_u64(a, load_u64(p + i));
        b = _mm_crc32_u64(b, load_u64(p + block + i));
        c = _mm_crc32_u64(c, load_u64(p + 2 * block + i));
    }
    __m128i moved = _mm_xor_si128(multiply(a, shift.two), multiply(b, shift.one));
    return _mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(moved)) ^ c;
}

ACCELERATED static uint32_t crc32c_accelerated(uint32_t start, const unsigned char *p, size_t n)
{
    uint64_t crc = ~start;
    for (; n >= 3 * LONG; n -= 3 * LONG, p += 3 * LONG)
        crc = add_blocks(crc, p, LONG, shift_long);
    for (; n >= 3 * SHORT; n -= 3 * SHORT, p += 3 * SHORT)
        crc = add_blocks(crc, p, SHORT, shift_short);
    for (; n >= 8; n -= 8, p += 8)
        crc = _mm_crc32_u64(crc, load_u64(p));
    for (; n > 0; n--, p++)
        crc = _mm_crc32_u8((uint32_t)crc, *p);
    return ~(uint32_t)crc;
}

uint32_t crc32c(uint32_t crc, const void *p, size_t n)
{
    return has_instruction ? crc32c_accelerated(crc, p, n) : crc32c_portable(crc, p, n);
}

#else

uint32_t crc32c(uint32_t crc, const void *p, size_t n)
{
    return crc32c_portable(crc, p, n);
}

#endif
