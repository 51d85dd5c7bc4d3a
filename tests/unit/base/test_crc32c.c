#include "base/crc32c.h"

#include "unit/unit.h"

enum { LENGTH_MAX = 5000, ALIGNMENTS = 16 };

static unsigned char bytes[LENGTH_MAX + ALIGNMENTS];

static void fill(void)
{
    uint32_t state = 12345;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)((state = state * 1664525 + 1013904223) >> 24);
}

/* The definition, a bit at a time. */
static uint32_t by_definition(const unsigned char *p, size_t n)
{
    uint32_t crc = ~UINT32_C(0);
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? UINT32_C(0x82f63b78) : 0);
    }
    return ~crc;
}

static void check_both(const void *p, size_t n, uint32_t want)
{
    CHECK_EQ(crc32c(0, p, n), want);
    CHECK_EQ(crc32c_portable(0, p, n), want);
}

TEST(test_the_vectors_of_rfc_3720_come_out)
{
    unsigned char block[32];
    check_both("123456789", 9, 0xe3069283);
    memset(block, 0, sizeof block);
    check_both(block, sizeof block, 0x8a9136aa);
    memset(block, 0xff, sizeof block);
    check_both(block, sizeof block, 0x62a8ab43);
    for (int i = 0; i < 32; i++)
        block[i] = (unsigned char)i;
    check_both(block, sizeof block, 0x46dd794e);
    check_both(NULL, 0, 0);
}

TEST(test_portable_is_the_definition)
{
    fill();
    for (size_t n = 0; n < 300; n++)
        CHECK_EQ(crc32c_portable(0, bytes + n % ALIGNMENTS, n), by_definition(bytes + n % ALIGNMENTS, n));
}

TEST(test_the_fast_way_equals_the_portable_one_at_every_length_and_alignment)
{
    fill();
    for (size_t n = 0; n <= LENGTH_MAX; n++)
        for (size_t at = n % 3; at < ALIGNMENTS; at += 3)
            CHECK_EQ(crc32c((uint32_t)n, bytes + at, n), crc32c_portable((uint32_t)n, bytes + at, n));
}

TEST(test_a_checksum_can_be_continued_at_any_split)
{
    fill();
    for (size_t n = 1; n <= LENGTH_MAX; n += n < 700 ? 97 : 1433) {
        uint32_t whole = crc32c_portable(0, bytes + 1, n);
        for (size_t cut = 0; cut <= n; cut++) {
            CHECK_EQ(crc32c(crc32c(0, bytes + 1, cut), bytes + 1 + cut, n - cut), whole);
            CHECK_EQ(crc32c_portable(crc32c(0, bytes + 1, cut), bytes + 1 + cut, n - cut), whole);
        }
    }
}

TEST(test_two_parts_are_put_together_without_their_bytes)
{
    fill();
    for (size_t n = 0; n <= LENGTH_MAX; n += n < 70 ? 1 : 311)
        CHECK_EQ(crc32c_shift(0x12345678, n) ^ crc32c(0, bytes, n), crc32c(0x12345678, bytes, n));
    static const unsigned char zeros[1 << 22];
    CHECK_EQ(crc32c_shift(1, sizeof zeros) ^ crc32c(0, zeros, sizeof zeros), crc32c(1, zeros, sizeof zeros));
}

TEST(test_any_flipped_bit_shows)
{
    fill();
    uint32_t right = crc32c(0, bytes, LENGTH_MAX);
    for (size_t bit = 0; bit < LENGTH_MAX * 8; bit += 7) {
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
        CHECK(crc32c(0, bytes, LENGTH_MAX) != right);
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
}
