/* The form of secrets, and keys derived from them, against RFC 5869. */
#include "net/secret.h"

#include <errno.h>

#include "net/openssl.h"
#include "unit/unit.h"

#define HEX_16 "000102030405060708090a0b0c0d0e0f"

static int parse(const char *text)
{
    struct secret s;
    return secret_parse(slice_from(text), &s);
}

TEST(test_only_the_form_of_a_new_secret_is_accepted)
{
    CHECK_EQ(parse(HEX_16), 0);
    CHECK_EQ(parse(HEX_16 "FFee"), 0);
    CHECK_EQ(parse(HEX_16 "0"), -EINVAL);                      /* half a byte */
    CHECK_EQ(parse("000102030405060708090a0b0c0d0e"), -EINVAL);  /* 120 bits */
    CHECK_EQ(parse("000102030405060708090a0b0c0d0e0g"), -EINVAL);
    CHECK_EQ(parse(" 00102030405060708090a0b0c0d0e0f"), -EINVAL);
    CHECK_EQ(parse("correct horse battery staple and then some more"), -EINVAL);
    CHECK_EQ(parse("s"), -EINVAL);
}

TEST(test_a_secret_that_is_too_long_is_refused)
{
    static char digits[2 * SECRET_SIZE_MAX + 2];
    struct secret s;
    memset(digits, 'a', sizeof digits);
    CHECK_EQ(secret_parse(slice_of(digits, 2 * SECRET_SIZE_MAX), &s), 0);
    CHECK_EQ(s.size, SECRET_SIZE_MAX);
    CHECK_EQ(s.bytes[SECRET_SIZE_MAX - 1], 0xaa);
    CHECK_EQ(secret_parse(slice_of(digits, 2 * SECRET_SIZE_MAX + 2), &s), -EINVAL);
}

TEST(test_an_empty_text_is_no_secret)
{
    struct secret s = {.size = 1};
    CHECK_EQ(secret_parse(SLICE(""), &s), 0);
    CHECK_EQ(s.size, 0);
}

TEST(test_a_new_secret_is_accepted_has_256_bits_and_differs_from_the_next)
{
    struct buf a = {0}, b = {0};
    struct secret s;
    secret_mint(&a);
    secret_mint(&b);
    CHECK_EQ(secret_parse(buf_slice(&a), &s), 0);
    CHECK_EQ(s.size, 32);
    CHECK(!slice_eq(buf_slice(&a), buf_slice(&b)));
    buf_fini(&a);
    buf_fini(&b);
}

/* Test case 3, which has neither salt nor info; and one with info by another implementation. */
TEST(test_keys_are_those_of_rfc_5869)
{
    static const char with_info[] = "\xe1\x4e\x47\x80\x2b\xd5\xde\x3e\x3e\x92\xa0\xd1\x40\x3f\x6c\x86"
                                    "\x52\xa9\x8d\x5c\x95\x9f\xf1\xa9\xf5\x96\x81\xa2\x74\xff\x05\xf6";
    static const char want[] = "\x8d\xa4\xe7\x75\xa5\x63\xc1\x8f\x71\x5f\x80\x2a\x06\x3c\x5a\x31"
                               "\xb8\xa1\x1f\x5c\x5e\xe1\x87\x9e\xc3\x45\x4e\x5f\x3c\x73\x8d\x2d";
    unsigned char key[SECRET_KEY_SIZE];
    struct secret s;
    CHECK_EQ(openssl_load(), 0);
    CHECK_EQ(secret_parse(SLICE("0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b"), &s), 0);
    secret_derive(&s, SLICE(""), key);
    CHECK_SLICE(slice_of((const char *)key, sizeof key), slice_of(want, SECRET_KEY_SIZE));
    secret_derive(&s, SLICE("lignum psk 1\0n"), key);
    CHECK_SLICE(slice_of((const char *)key, sizeof key), slice_of(with_info, SECRET_KEY_SIZE));
}

TEST(test_keys_of_another_secret_or_purpose_differ)
{
    unsigned char a[SECRET_KEY_SIZE], b[SECRET_KEY_SIZE], c[SECRET_KEY_SIZE];
    struct secret s, other;
    CHECK_EQ(openssl_load(), 0);
    CHECK_EQ(secret_parse(SLICE(HEX_16), &s), 0);
    CHECK_EQ(secret_parse(SLICE(HEX_16 "00"), &other), 0);
    secret_derive(&s, SLICE("a"), a);
    secret_derive(&s, SLICE("b"), b);
    secret_derive(&other, SLICE("a"), c);
    CHECK(memcmp(a, b, sizeof a) != 0);
    CHECK(memcmp(a, c, sizeof a) != 0);
}
