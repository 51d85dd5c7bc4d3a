/*
 * Keys, and signatures with them, by OpenSSL, which the caller has loaded (net/openssl.h).
 *
 * Algorithms have the names of JSON Web Algorithms (RFC 7518, RFC 8037), and signatures their form: of ECDSA the two
 * numbers one after the other, each as long as the curve needs. A key only works with the algorithms of its type.
 *
 * No function takes a lua_State, and none raises.
 */
#ifndef SCRIPT_STD_SIGNING_KEY_H
#define SCRIPT_STD_SIGNING_KEY_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/slice.h"

enum { SIGNATURE_SIZE_MAX = 512 };    /* of RSA with RSA_BITS_MAX */

/* A key. Owned by whom signing_key_of_... has given it to; freed with signing_key_free. */
struct signing_key {
    struct evp_pkey_st *pkey;
    bool can_sign;                    /* it has its private part */
};

/* The members of a JSON Web Key as they stand there, in base64url; n == 0: absent. */
struct jwk {
    slice kty, crv, n, e, x, y, d;
};

/* From a PEM text (SubjectPublicKeyInfo, or an unencrypted private key), or from a JSON Web Key (RSA: the public part
 * only; Ed25519: x may be absent where d is there). 0, or -ERR_BAD_VALUE with the reason in `why`. */
int signing_key_of_pem(slice pem, struct signing_key *out, const char **why);
int signing_key_of_jwk(const struct jwk *jwk, struct signing_key *out, const char **why);
void signing_key_free(struct signing_key *key);

/* The members of its public part as a JSON Web Key: crv is NULL for RSA; a, b are n, e of RSA, else x, y, and b is ""
 * for Ed25519. 0, or -ERR_INTERNAL. */
enum { JWK_TEXT_MAX = 700 };          /* the base64url of RSA_BITS_MAX, and a NUL */
struct public_jwk {
    const char *kty, *crv;
    char a[JWK_TEXT_MAX], b[JWK_TEXT_MAX];
};
int signing_key_public(const struct signing_key *key, struct public_jwk *out);

/* NULL: there is none of that name. */
const struct algorithm *algorithm_find(slice name);
bool signing_key_fits(const struct signing_key *key, const struct algorithm *a);

/* The key fits. verify: whether the signature is right. sign: 0, or -ERR_INTERNAL; the key can sign. */
bool signing_key_verify(const struct signing_key *key, const struct algorithm *a, slice bytes, slice signature);
int signing_key_sign(const struct signing_key *key, const struct algorithm *a, slice bytes, struct buf *out);

#endif
