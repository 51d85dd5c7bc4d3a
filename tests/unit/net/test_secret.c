/* The proofs of a shared secret, against RFC 4231 and against those who do not have it. */
#include "net/secret.h"

#include <errno.h>

#include "unit/unit.h"

#define KEY SLICE("a secret of the house, long enough")
#define NONCE SLICE("0123456789abcdef")

static struct secret secret_of(slice key)
{
    struct secret s;
    CHECK_EQ(secret_init(&s, key), 0);
    return s;
}

static int nibble(char c)
{
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

static void check_mac(const struct secret *s, slice text, const char *hex)
{
    char want[PROOF_SIZE], got[PROOF_SIZE];
    for (int i = 0; i < PROOF_SIZE; i++)
        want[i] = (char)(nibble(hex[2 * i]) << 4 | nibble(hex[2 * i + 1]));
    secret_mac(s, text, got);
    CHECK_SLICE(slice_of(got, PROOF_SIZE), slice_of(want, PROOF_SIZE));
}

static slice repeated(int c, size_t n)
{
    static char bytes[2][256];
    static int i;
    char *out = bytes[i++ % 2];
    memset(out, c, n);
    return slice_of(out, n);
}

/* A key of the RFC may be shorter than we allow. */
static void check_vector(slice key, slice text, const char *hex)
{
    struct secret usual = secret_of(KEY), s = usual;
    s.key = (char *)(uintptr_t)key.p;
    s.size = key.n;
    check_mac(&s, text, hex);
    secret_fini(&usual);
}

TEST(test_the_vectors_of_rfc_4231_hold)
{
    static const char counting[] = "\1\2\3\4\5\6\7\10\11\12\13\14\15\16\17\20\21\22\23\24\25\26\27\30\31";
    check_vector(repeated(0x0b, 20), SLICE("Hi There"),
                 "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    check_vector(SLICE("Jefe"), SLICE("what do ya want for nothing?"),
                 "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    check_vector(repeated(0xaa, 20), repeated(0xdd, 50),
                 "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
    check_vector(slice_of(counting, 25), repeated(0xcd, 50),
                 "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b");
    check_vector(repeated(0xaa, 131), SLICE("Test Using Larger Than Block-Size Key - Hash Key First"),
                 "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    check_vector(repeated(0xaa, 131),
                 SLICE("This is a test using a larger than block-size key and a larger than block-size data. The key "
                       "needs to be hashed before being used by the HMAC algorithm."),
                 "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2");
}

TEST(test_a_proof_is_the_mac_of_role_nul_and_nonce)
{
    struct secret s = secret_of(KEY);
    char proof[PROOF_SIZE];
    secret_prove(&s, "leader", NONCE, proof);
    char want[PROOF_SIZE];
    secret_mac(&s, SLICE("leader\0" "0123456789abcdef"), want);
    CHECK_SLICE(slice_of(proof, PROOF_SIZE), slice_of(want, PROOF_SIZE));
    CHECK(secret_check(&s, "leader", NONCE, slice_of(proof, PROOF_SIZE)));
    secret_fini(&s);
}

TEST(test_another_secret_is_refused)
{
    struct secret s = secret_of(KEY), other = secret_of(SLICE("a secret of the house, long enouth"));
    char proof[PROOF_SIZE];
    secret_prove(&other, "leader", NONCE, proof);
    CHECK(!secret_check(&s, "leader", NONCE, slice_of(proof, PROOF_SIZE)));
    secret_fini(&s);
    secret_fini(&other);
}

TEST(test_a_node_without_a_secret_does_not_pass_for_one_with)
{
    struct secret s = secret_of(KEY), none = secret_of(SLICE(""));
    char proof[PROOF_SIZE];
    secret_prove(&none, "follower", NONCE, proof);
    CHECK(!secret_check(&s, "follower", NONCE, slice_of(proof, PROOF_SIZE)));
    CHECK(secret_check(&none, "follower", NONCE, slice_of(proof, PROOF_SIZE)));
    secret_fini(&s);
}

TEST(test_a_proof_sent_back_as_the_others_is_refused)
{
    struct secret s = secret_of(KEY);
    char proof[PROOF_SIZE];
    secret_prove(&s, "leader", NONCE, proof);
    CHECK(!secret_check(&s, "follower", NONCE, slice_of(proof, PROOF_SIZE)));
    CHECK(!secret_check(&s, "leader", SLICE("0123456789abcdeF"), slice_of(proof, PROOF_SIZE)));
    secret_fini(&s);
}

TEST(test_every_bit_and_the_length_of_a_proof_count)
{
    struct secret s = secret_of(KEY);
    char proof[PROOF_SIZE + 1] = {0};
    secret_prove(&s, "follower", NONCE, proof);
    for (int i = 0; i < PROOF_SIZE * 8; i++) {
        proof[i / 8] = (char)(proof[i / 8] ^ 1 << i % 8);
        CHECK(!secret_check(&s, "follower", NONCE, slice_of(proof, PROOF_SIZE)));
        proof[i / 8] = (char)(proof[i / 8] ^ 1 << i % 8);
    }
    CHECK(!secret_check(&s, "follower", NONCE, slice_of(proof, PROOF_SIZE - 1)));
    CHECK(!secret_check(&s, "follower", NONCE, slice_of(proof, PROOF_SIZE + 1)));
    CHECK(!secret_check(&s, "follower", NONCE, slice_of(NULL, 0)));
    CHECK(secret_check(&s, "follower", NONCE, slice_of(proof, PROOF_SIZE)));
    secret_fini(&s);
}

TEST(test_a_secret_that_is_too_short_or_too_long_is_refused)
{
    static char longest[SECRET_MAX + 1];
    struct secret s;
    memset(longest, 's', sizeof longest);
    CHECK_EQ(secret_init(&s, slice_of(longest, 1)), -EINVAL);
    CHECK_EQ(secret_init(&s, slice_of(longest, SECRET_MIN - 1)), -EINVAL);
    CHECK_EQ(secret_init(&s, slice_of(longest, SECRET_MAX + 1)), -EINVAL);
    CHECK(s.key == NULL);
    CHECK_EQ(secret_init(&s, slice_of(longest, SECRET_MIN)), 0);
    secret_fini(&s);
    CHECK_EQ(secret_init(&s, slice_of(longest, SECRET_MAX)), 0);
    secret_fini(&s);
    CHECK(s.key == NULL);
    secret_fini(&s);
}

TEST(test_nonces_differ)
{
    char a[NONCE_SIZE], b[NONCE_SIZE];
    nonce_mint(a);
    nonce_mint(b);
    CHECK(memcmp(a, b, NONCE_SIZE) != 0);
}
