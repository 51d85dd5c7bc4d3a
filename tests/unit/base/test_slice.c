#include "base/slice.h"

#include <errno.h>

#include "unit/unit.h"

TEST(test_a_prefix_must_fit_and_match)
{
    CHECK(slice_starts(SLICE("orders"), SLICE("ord")));
    CHECK(slice_starts(SLICE("orders"), SLICE("")));
    CHECK(slice_starts((slice){0}, (slice){0}));
    CHECK(!slice_starts(SLICE("or"), SLICE("ord")));
    CHECK(!slice_starts(SLICE("orders"), SLICE("rd")));
}

TEST(test_ieq_folds_ascii_letters_and_nothing_else)
{
    CHECK(slice_ieq(SLICE("Content-Length"), SLICE("cONTENT-lENGTH")));
    CHECK(!slice_ieq(SLICE("abc"), SLICE("abcd")));
    for (int a = 0; a < 256; a++)
        for (int b = 0; b < 256; b++) {
            char x = (char)a, y = (char)b;
            int lower_a = a >= 'A' && a <= 'Z' ? a + 32 : a, lower_b = b >= 'A' && b <= 'Z' ? b + 32 : b;
            CHECK_EQ(slice_ieq(slice_of(&x, 1), slice_of(&y, 1)), lower_a == lower_b);
            size_t at = (size_t)(a + b) % 11;        /* the first eight are compared together */
            char left[11] = "AbcdefGHijk", right[11] = "aBcdefghIJk";
            left[at] = x, right[at] = y;
            CHECK_EQ(slice_ieq(slice_of(left, 11), slice_of(right, 11)), lower_a == lower_b);
        }
}

TEST(test_trim_takes_blanks_at_both_ends_only)
{
    CHECK_SLICE(slice_trim(SLICE(" \t a b\t ")), SLICE("a b"));
    CHECK_SLICE(slice_trim(SLICE(" \t ")), SLICE(""));
    CHECK_SLICE(slice_trim(SLICE("\r\na")), SLICE("\r\na"));
    CHECK_EQ(slice_trim((slice){0}).n, 0);
}

TEST(test_split_yields_empty_parts_between_and_none_after_the_end)
{
    slice rest = SLICE("a,,bc,"), part;
    CHECK(slice_split(&rest, ',', &part));
    CHECK_SLICE(part, SLICE("a"));
    CHECK(slice_split(&rest, ',', &part));
    CHECK_SLICE(part, SLICE(""));
    CHECK(slice_split(&rest, ',', &part));
    CHECK_SLICE(part, SLICE("bc"));
    CHECK(!slice_split(&rest, ',', &part));
    CHECK_SLICE(part, SLICE("bc"));
}

TEST(test_u64_reads_up_to_the_largest)
{
    uint64_t v;
    CHECK_EQ(slice_u64(SLICE("18446744073709551615"), &v), 0);
    CHECK(v == UINT64_MAX);
    CHECK_EQ(slice_u64(SLICE("000000000000000000000000042"), &v), 0);
    CHECK_EQ(v, 42);
    CHECK_EQ(slice_u64(SLICE("0"), &v), 0);
    CHECK_EQ(v, 0);
}

TEST(test_u64_refuses_overflow_and_anything_but_digits)
{
    uint64_t v = 7;
    CHECK_EQ(slice_u64(SLICE("18446744073709551616"), &v), -ERANGE);
    CHECK_EQ(slice_u64(SLICE("99999999999999999999999"), &v), -ERANGE);
    CHECK_EQ(slice_u64(SLICE("99999999999999999999999x"), &v), -EINVAL);
    CHECK_EQ(slice_u64(SLICE(""), &v), -EINVAL);
    CHECK_EQ(slice_u64(SLICE("+1"), &v), -EINVAL);
    CHECK_EQ(slice_u64(SLICE("-1"), &v), -EINVAL);
    CHECK_EQ(slice_u64(SLICE(" 1"), &v), -EINVAL);
    CHECK_EQ(slice_u64(SLICE("0x3"), &v), -EINVAL);
    CHECK_EQ(slice_u64(SLICE("1\0"), &v), -EINVAL);
    CHECK_EQ(v, 7);
}
