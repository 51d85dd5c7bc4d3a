#include "script/std/signing_key.h"

#include <openssl/core_names.h>
#include <string.h>

#include "base/base64.h"
#include "base/err.h"
#include "base/limits.h"
#include "net/openssl.h"

enum { ECDSA_DER_MAX = 160 };         /* two numbers of 521 bits, and their heads */

struct algorithm {
    const char *name;
    int type;                         /* EVP_PKEY_... */
    const char *group;                /* of EC: OpenSSL's name of the curve */
    const char *curve;                /* and that of JSON Web Keys */
    int digest;                       /* bits of SHA-2; 0: the algorithm has its own */
    int part;                         /* of EC: bytes of each of the two numbers */
    bool pss;
};

static const struct algorithm algorithms[] = {
    {"EdDSA", EVP_PKEY_ED25519, NULL, "Ed25519", 0, 0, false},
    {"ES256", EVP_PKEY_EC, "prime256v1", "P-256", 256, 32, false},
    {"ES384", EVP_PKEY_EC, "secp384r1", "P-384", 384, 48, false},
    {"ES512", EVP_PKEY_EC, "secp521r1", "P-521", 512, 66, false},
    {"RS256", EVP_PKEY_RSA, NULL, NULL, 256, 0, false},
    {"RS384", EVP_PKEY_RSA, NULL, NULL, 384, 0, false},
    {"RS512", EVP_PKEY_RSA, NULL, NULL, 512, 0, false},
    {"PS256", EVP_PKEY_RSA, NULL, NULL, 256, 0, true},
    {"PS384", EVP_PKEY_RSA, NULL, NULL, 384, 0, true},
    {"PS512", EVP_PKEY_RSA, NULL, NULL, 512, 0, true},
};
enum { ALGORITHMS = sizeof(algorithms) / sizeof(algorithms[0]) };

const struct algorithm *algorithm_find(slice name)
{
    for (size_t i = 0; i < ALGORITHMS; i++)
        if (slice_eq(name, slice_from(algorithms[i].name)))
            return &algorithms[i];
    return NULL;
}

bool signing_key_fits(const struct signing_key *key, const struct algorithm *a)
{
    char group[32] = "";
    size_t n;
    if (openssl.EVP_PKEY_get_base_id(key->pkey) != a->type)
        return false;
    return a->group == NULL || (openssl.EVP_PKEY_get_group_name(key->pkey, group, sizeof(group), &n) == 1 &&
                                slice_eq(slice_from(group), slice_from(a->group)));
}

/* ---- keys ---- */

void signing_key_free(struct signing_key *key)
{
    if (key->pkey != NULL)
        openssl.EVP_PKEY_free(key->pkey);
    *key = (struct signing_key){0};
}

/* Takes a key that OpenSSL could read, if an algorithm can use it. */
static int take(EVP_PKEY *pkey, bool can_sign, struct signing_key *out, const char **why)
{
    struct signing_key key = {pkey, can_sign};
    openssl.ERR_clear_error();
    if (pkey == NULL)
        return -ERR_BAD_VALUE;
    bool fits = false;
    for (size_t i = 0; i < ALGORITHMS && !fits; i++)
        fits = signing_key_fits(&key, &algorithms[i]);
    int bits = openssl.EVP_PKEY_get_bits(pkey);
    if (!fits)
        *why = "the key is neither Ed25519, nor EC on P-256, P-384 or P-521, nor RSA";
    else if (openssl.EVP_PKEY_get_base_id(pkey) == EVP_PKEY_RSA && (bits < RSA_BITS_MIN || bits > RSA_BITS_MAX))
        *why = "an RSA key must have 2048 to 4096 bits";
    else {
        *out = key;
        return 0;
    }
    signing_key_free(&key);
    return -ERR_BAD_VALUE;
}

/* Without it OpenSSL asks for the password of an encrypted key on the terminal. */
static int no_password(char *to, int size, int writing, void *arg)
{
    (void)to;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

int signing_key_of_pem(slice pem, struct signing_key *out, const char **why)
{
    *why = "not a PEM text with a public key or an unencrypted private key";
    if (pem.n > INT32_MAX)
        return -ERR_BAD_VALUE;
    BIO *bio = openssl.BIO_new_mem_buf(pem.p, (int)pem.n);
    bool can_sign = memmem(pem.p, pem.n, "PRIVATE KEY-----", 16) != NULL;
    EVP_PKEY *pkey = can_sign ? openssl.PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL)
                              : openssl.PEM_read_bio_PUBKEY(bio, NULL, no_password, NULL);
    openssl.BIO_free(bio);
    return take(pkey, can_sign, out, why);
}

/* An EVP_PKEY of these parameters; NULL when OpenSSL refuses them. */
static EVP_PKEY *from_data(const char *type, int selection, OSSL_PARAM *params)
{
    EVP_PKEY *pkey = NULL;
    EVP_PKEY_CTX *ctx = openssl.EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    if (ctx != NULL && openssl.EVP_PKEY_fromdata_init(ctx) == 1)
        openssl.EVP_PKEY_fromdata(ctx, &pkey, selection, params);
    openssl.EVP_PKEY_CTX_free(ctx);
    return pkey;
}

/* A whole number of a JSON Web Key, whose first byte is the highest. OpenSSL takes them in the machine's order. */
static OSSL_PARAM whole_param(const char *name, struct buf *bytes)
{
    char *p = bytes->data + bytes->at;
    size_t n = buf_size(bytes);
    for (size_t i = 0; i < n / 2; i++) {
        char c = p[i];
        p[i] = p[n - 1 - i];
        p[n - 1 - i] = c;
    }
    return (OSSL_PARAM){name, OSSL_PARAM_UNSIGNED_INTEGER, p, n, OSSL_PARAM_UNMODIFIED};
}

static EVP_PKEY *rsa_of(struct buf *n, struct buf *e)
{
    OSSL_PARAM params[] = {whole_param(OSSL_PKEY_PARAM_RSA_N, n), whole_param(OSSL_PKEY_PARAM_RSA_E, e),
                           {NULL, 0, NULL, 0, 0}};
    return from_data("RSA", EVP_PKEY_PUBLIC_KEY, params);
}

/* With a private part, that must belong to the point. */
static EVP_PKEY *ec_of(const struct algorithm *a, struct buf *x, struct buf *y, struct buf *d)
{
    size_t part = (size_t)a->part;
    bool pair = buf_size(d) > 0;
    if (buf_size(x) != part || buf_size(y) != part || (pair && buf_size(d) != part))
        return NULL;
    struct buf point = {0};
    buf_add_char(&point, 4);          /* not compressed */
    buf_add_slice(&point, buf_slice(x));
    buf_add_slice(&point, buf_slice(y));
    char group[32];
    size_t n = strlen(a->group);
    memcpy(group, a->group, n + 1);
    OSSL_PARAM end = {NULL, 0, NULL, 0, 0};
    OSSL_PARAM params[] = {{OSSL_PKEY_PARAM_GROUP_NAME, OSSL_PARAM_UTF8_STRING, group, n, OSSL_PARAM_UNMODIFIED},
                           {OSSL_PKEY_PARAM_PUB_KEY, OSSL_PARAM_OCTET_STRING, point.data, buf_size(&point),
                            OSSL_PARAM_UNMODIFIED},
                           pair ? whole_param(OSSL_PKEY_PARAM_PRIV_KEY, d) : end, end};
    EVP_PKEY *pkey = from_data("EC", pair ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY, params);
    buf_fini(&point);
    if (pkey == NULL || !pair)
        return pkey;
    EVP_PKEY_CTX *ctx = openssl.EVP_PKEY_CTX_new(pkey, NULL);
    bool same = ctx != NULL && openssl.EVP_PKEY_pairwise_check(ctx) == 1;
    openssl.EVP_PKEY_CTX_free(ctx);
    if (same)
        return pkey;
    openssl.EVP_PKEY_free(pkey);
    return NULL;
}

static EVP_PKEY *ed25519_of(const struct buf *x, const struct buf *d)
{
    slice pub = buf_slice(x), priv = buf_slice(d);
    if (pub.n == 0 && priv.n > 0)
        return openssl.EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, (const unsigned char *)priv.p, priv.n);
    EVP_PKEY *key = openssl.EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, (const unsigned char *)pub.p, pub.n);
    if (key == NULL || priv.n == 0)
        return key;
    EVP_PKEY *pair = openssl.EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, (const unsigned char *)priv.p,
                                                          priv.n);
    bool same = pair != NULL && openssl.EVP_PKEY_eq(pair, key) == 1;
    openssl.EVP_PKEY_free(key);
    if (same)
        return pair;
    openssl.EVP_PKEY_free(pair);
    return NULL;
}

static const struct algorithm *curve_find(slice curve, int type)
{
    for (size_t i = 0; i < ALGORITHMS; i++)
        if (algorithms[i].type == type && slice_eq(curve, slice_from(algorithms[i].curve)))
            return &algorithms[i];
    return NULL;
}

int signing_key_of_jwk(const struct jwk *jwk, struct signing_key *out, const char **why)
{
    const slice *texts[] = {&jwk->n, &jwk->e, &jwk->x, &jwk->y, &jwk->d};
    struct buf parts[5] = {{0}};
    struct buf *n = &parts[0], *e = &parts[1], *x = &parts[2], *y = &parts[3], *d = &parts[4];
    const struct algorithm *curve;
    EVP_PKEY *pkey = NULL;
    *why = NULL;
    for (int i = 0; i < 5; i++)
        if (base64url_decode(&parts[i], *texts[i]) < 0)
            *why = "a member of the key is not base64url without padding";
    if (*why != NULL)
        ;                             /* nothing can be read */
    else if (slice_eq(jwk->kty, SLICE("RSA"))) {
        *why = "n and e must be those of an RSA key; a private one is given as PEM";
        pkey = buf_size(d) == 0 && buf_size(n) > 0 && buf_size(e) > 0 ? rsa_of(n, e) : NULL;
    } else if (slice_eq(jwk->kty, SLICE("EC")) && (curve = curve_find(jwk->crv, EVP_PKEY_EC)) != NULL) {
        *why = "x and y, and d if it is there, are not a key on that curve";
        pkey = ec_of(curve, x, y, d);
    } else if (slice_eq(jwk->kty, SLICE("OKP")) && curve_find(jwk->crv, EVP_PKEY_ED25519) != NULL) {
        *why = "x, and d if it is there, are not a key of Ed25519";
        pkey = ed25519_of(x, d);
    } else {
        *why = "kty must be RSA, EC (crv P-256, P-384 or P-521) or OKP (crv Ed25519)";
    }
    bool can_sign = buf_size(d) > 0;
    explicit_bzero(d->data, can_sign ? d->cap : 0);
    for (int i = 0; i < 5; i++)
        buf_fini(&parts[i]);
    return take(pkey, can_sign, out, why);
}

enum { PART_MAX = RSA_BITS_MAX / 8 };     /* bytes of a public key, or of a number of one */
_Static_assert((PART_MAX + 2) / 3 * 4 < JWK_TEXT_MAX, "the longest part fits");

static void write_part(slice bytes, char out[JWK_TEXT_MAX])
{
    struct buf text = {0};
    base64url_add(&text, bytes);
    buf_add_char(&text, '\0');
    memcpy(out, text.data, buf_size(&text));
    buf_fini(&text);
}

static int write_number(const EVP_PKEY *pkey, const char *name, char out[JWK_TEXT_MAX])
{
    BIGNUM *n = NULL;
    unsigned char bytes[PART_MAX];
    int size = openssl.EVP_PKEY_get_bn_param(pkey, name, &n) == 1 ? (openssl.BN_num_bits(n) + 7) / 8 : 0;
    bool good = size > 0 && size <= PART_MAX && openssl.BN_bn2binpad(n, bytes, size) == size;
    openssl.BN_free(n);
    if (good)
        write_part(slice_of((const char *)bytes, (size_t)size), out);
    return good ? 0 : -ERR_INTERNAL;
}

/* Of a curve: the point of an EC key, not compressed, or the bytes of Ed25519. */
static int write_point(const EVP_PKEY *pkey, const struct algorithm *a, struct public_jwk *out)
{
    unsigned char bytes[PART_MAX];
    size_t n = 0, part = (size_t)a->part;
    if (openssl.EVP_PKEY_get_octet_string_param(pkey, OSSL_PKEY_PARAM_PUB_KEY, bytes, sizeof(bytes), &n) != 1)
        return -ERR_INTERNAL;
    slice point = slice_of((const char *)bytes, n);
    out->b[0] = '\0';
    if (a->type != EVP_PKEY_EC) {
        write_part(point, out->a);
        return 0;
    }
    if (n != 1 + 2 * part || bytes[0] != 4)
        return -ERR_INTERNAL;
    write_part(slice_of(point.p + 1, part), out->a);
    write_part(slice_skip(point, 1 + part), out->b);
    return 0;
}

int signing_key_public(const struct signing_key *key, struct public_jwk *out)
{
    const struct algorithm *a = algorithms;
    while (!signing_key_fits(key, a))     /* one does: see take */
        a++;
    out->crv = a->curve;
    out->kty = a->type == EVP_PKEY_RSA ? "RSA" : a->type == EVP_PKEY_EC ? "EC" : "OKP";
    if (a->type != EVP_PKEY_RSA)
        return write_point(key->pkey, a, out);
    int rc = write_number(key->pkey, OSSL_PKEY_PARAM_RSA_N, out->a);
    return rc < 0 ? rc : write_number(key->pkey, OSSL_PKEY_PARAM_RSA_E, out->b);
}

/* ---- signatures ---- */

static const EVP_MD *digest_of(const struct algorithm *a)
{
    return a->digest == 256 ? openssl.EVP_sha256()
         : a->digest == 384 ? openssl.EVP_sha384() : a->digest == 512 ? openssl.EVP_sha512() : NULL;
}

static bool set_pss(EVP_PKEY_CTX *ctx)
{
    return openssl.EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1 &&
           openssl.EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) == 1;
}

/* The form that OpenSSL wants of an ECDSA signature. Returns its size; 0: it cannot be one. */
static size_t to_der(const struct algorithm *a, slice signature, unsigned char der[ECDSA_DER_MAX])
{
    const unsigned char *p = (const unsigned char *)signature.p;
    if (signature.n != 2 * (size_t)a->part)
        return 0;
    ECDSA_SIG *s = openssl.ECDSA_SIG_new();
    openssl.ECDSA_SIG_set0(s, openssl.BN_bin2bn(p, a->part, NULL), openssl.BN_bin2bn(p + a->part, a->part, NULL));
    int size = openssl.i2d_ECDSA_SIG(s, NULL);
    if (size > 0 && size <= ECDSA_DER_MAX)
        size = openssl.i2d_ECDSA_SIG(s, &der);
    openssl.ECDSA_SIG_free(s);
    return size > 0 && size <= ECDSA_DER_MAX ? (size_t)size : 0;
}

static bool add_from_der(const struct algorithm *a, const unsigned char *der, size_t n, struct buf *out)
{
    const BIGNUM *r, *s;
    unsigned char both[2 * 66];
    ECDSA_SIG *signature = openssl.d2i_ECDSA_SIG(NULL, &der, (long)n);
    if (signature == NULL)
        return false;
    openssl.ECDSA_SIG_get0(signature, &r, &s);
    bool good = openssl.BN_bn2binpad(r, both, a->part) == a->part &&
                openssl.BN_bn2binpad(s, both + a->part, a->part) == a->part;
    openssl.ECDSA_SIG_free(signature);
    if (good)
        buf_add(out, both, 2 * (size_t)a->part);
    return good;
}

bool signing_key_verify(const struct signing_key *key, const struct algorithm *a, slice bytes, slice signature)
{
    unsigned char der[ECDSA_DER_MAX];
    if (a->part > 0)
        signature = slice_of((const char *)der, to_der(a, signature, der));
    EVP_PKEY_CTX *options;
    EVP_MD_CTX *ctx = openssl.EVP_MD_CTX_new();
    bool right = signature.n > 0 &&
                 openssl.EVP_DigestVerifyInit(ctx, &options, digest_of(a), NULL, key->pkey) == 1 &&
                 (!a->pss || set_pss(options)) &&
                 openssl.EVP_DigestVerify(ctx, (const unsigned char *)signature.p, signature.n,
                                          (const unsigned char *)bytes.p, bytes.n) == 1;
    openssl.EVP_MD_CTX_free(ctx);
    openssl.ERR_clear_error();
    return right;
}

int signing_key_sign(const struct signing_key *key, const struct algorithm *a, slice bytes, struct buf *out)
{
    unsigned char signature[SIGNATURE_SIZE_MAX];
    size_t size = sizeof(signature);
    EVP_PKEY_CTX *options;
    EVP_MD_CTX *ctx = openssl.EVP_MD_CTX_new();
    bool done = openssl.EVP_DigestSignInit(ctx, &options, digest_of(a), NULL, key->pkey) == 1 &&
                (!a->pss || set_pss(options)) &&
                openssl.EVP_DigestSign(ctx, signature, &size, (const unsigned char *)bytes.p, bytes.n) == 1;
    openssl.EVP_MD_CTX_free(ctx);
    openssl.ERR_clear_error();
    if (done && a->part > 0)
        done = add_from_der(a, signature, size, out);
    else if (done)
        buf_add(out, signature, size);
    return done ? 0 : -ERR_INTERNAL;
}
