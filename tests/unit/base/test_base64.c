#include "base/base64.h"

#include <errno.h>

#include "unit/unit.h"

static slice encode(struct buf *b, slice bytes)
{
    buf_clear(b);
    base64_add(b, bytes);
    return buf_slice(b);
}

static slice decode(struct buf *b, slice text)
{
    buf_clear(b);
    CHECK_EQ(base64_decode(b, text), 0);
    return buf_slice(b);
}

TEST(test_the_vectors_of_rfc_4648_go_both_ways)
{
    static const char *const texts[] = {"", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
    struct buf b = {0};
    for (size_t n = 0; n <= 6; n++) {
        CHECK_SLICE(encode(&b, slice_of("foobar", n)), slice_from(texts[n]));
        CHECK_SLICE(decode(&b, slice_from(texts[n])), slice_of("foobar", n));
    }
    CHECK_SLICE(encode(&b, SLICE("\xfb\xff\xfe\x00\xff")), SLICE("+//+AP8="));
    CHECK_SLICE(decode(&b, SLICE("+//+AP8=")), SLICE("\xfb\xff\xfe\x00\xff"));
    buf_fini(&b);
}

TEST(test_all_bytes_go_both_ways_at_all_places)
{
    struct buf b = {0}, text = {0};
    char bytes[256 + 3];
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (char)i;
    for (size_t skip = 0; skip < 3; skip++) {
        slice all = slice_of(bytes + skip, 256);
        buf_clear(&text);
        buf_add_slice(&text, encode(&b, all));
        CHECK_SLICE(decode(&b, buf_slice(&text)), all);
    }
    buf_fini(&text);
    buf_fini(&b);
}

TEST(test_what_is_not_base64_is_refused_and_changes_nothing)
{
    static const char *const wrong[] = {
        "a", "ab", "abc", "=", "==", "===", "====", "a===", "aGVsbG8", "aG=sbG8=", "aGVs bG8", "aGVs\nbG8", "aGVsbG8*",
        "aGV-bG8_", "ab==cdef", "ab=c", "=abc", "aGVsbG9\x80", "aGVs====", "aB==", "aF==",
        "aGB=", "aGF=", "a===", "IP==",
    };
    struct buf b = {0};
    buf_add_slice(&b, SLICE("kept"));
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        CHECK_EQ(base64_decode(&b, slice_from(wrong[i])), -EINVAL);
        CHECK_SLICE(buf_slice(&b), SLICE("kept"));
    }
    CHECK_EQ(base64_decode(&b, SLICE("IA==")), 0);
    CHECK_SLICE(buf_slice(&b), SLICE("kept "));
    buf_fini(&b);
}

TEST(test_base64url_has_its_own_alphabet_and_no_padding)
{
    static const char *const texts[] = {"", "Zg", "Zm8", "Zm9v", "Zm9vYg", "Zm9vYmE", "Zm9vYmFy"};
    struct buf b = {0};
    for (size_t n = 0; n <= 6; n++) {
        buf_clear(&b);
        base64url_add(&b, slice_of("foobar", n));
        CHECK_SLICE(buf_slice(&b), slice_from(texts[n]));
        buf_clear(&b);
        CHECK_EQ(base64url_decode(&b, slice_from(texts[n])), 0);
        CHECK_SLICE(buf_slice(&b), slice_of("foobar", n));
    }
    buf_clear(&b);
    base64url_add(&b, SLICE("\xfb\xff\xfe\x00\xff"));
    CHECK_SLICE(buf_slice(&b), SLICE("-__-AP8"));
    buf_fini(&b);
}

TEST(test_a_text_of_base64url_that_is_not_the_only_one_for_its_bytes_is_refused)
{
    static const char *const bad[] = {"Z", "Zm9vY", "Zg==", "Zm8=", "Zh", "Zm9", "+/++", "Zm 9", "Zm9v\n"};
    struct buf b = {0};
    buf_add_char(&b, 'x');
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        CHECK_EQ(base64url_decode(&b, slice_from(bad[i])), -EINVAL);
    CHECK_SLICE(buf_slice(&b), SLICE("x"));
    buf_fini(&b);
}
