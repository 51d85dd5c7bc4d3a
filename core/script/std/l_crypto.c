/*
 * crypto: digests, random bytes, encodings, keys and signatures.
 *
 * Libcrypto is loaded with the first call that needs it. A node without it raises an error there.
 */
#include <errno.h>
#include <lauxlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/base64.h"
#include "base/ensure.h"
#include "base/err.h"
#include "base/limits.h"
#include "net/openssl.h"
#include "script/bind/arg.h"
#include "script/bind/field.h"
#include "script/bind/object.h"
#include "script/bind/result.h"
#include "script/std/signing_key.h"
#include "script/std/tables.h"
#include "script/vm/vm.h"

#define HMAC_USAGE "crypto.hmac(digest, key, bytes)"
#define RANDOM "crypto.random(count)"
#define EQUAL "crypto.equal(a, b)"
#define ENCODE "crypto.encode(bytes, form)"
#define DECODE "crypto.decode(text, form)"
#define KEY "crypto.key(source)"
#define VERIFY "key:verify(algorithm, bytes, signature)"
#define SIGN "key:sign(algorithm, bytes)"
#define JWK "key:jwk()"

enum { KEY_COST = 4 * KIB };          /* about what OpenSSL holds for a key */

static void need_openssl(lua_State *L, const char *usage)
{
    if (openssl_load() < 0)
        arg_fail(L, usage, "OpenSSL (libcrypto.so.3) is not installed");
}

/* Bytes to compute something of: one call is not interrupted. */
static slice arg_bytes(lua_State *L, int index, const char *usage)
{
    slice bytes = arg_text(L, index, "bytes", usage);
    if (bytes.n > CRYPTO_SIZE_MAX)
        arg_fail(L, usage, "bytes has more than %d bytes", CRYPTO_SIZE_MAX);
    return bytes;
}

/* ---- digests ---- */

static int push_digest(lua_State *L, const char *usage, bool longer)
{
    unsigned char digest[64];
    unsigned size = 0;
    slice bytes = arg_bytes(L, 1, usage);
    need_openssl(L, usage);
    ENSURE(openssl.EVP_Digest(bytes.p, bytes.n, digest, &size, longer ? openssl.EVP_sha512() : openssl.EVP_sha256(),
                              NULL) == 1);
    lua_pushlstring(L, (const char *)digest, size);
    return 1;
}

/* crypto.sha256(bytes) -> 32 bytes */
static int l_sha256(lua_State *L)
{
    return push_digest(L, "crypto.sha256(bytes)", false);
}

/* crypto.sha512(bytes) -> 64 bytes */
static int l_sha512(lua_State *L)
{
    return push_digest(L, "crypto.sha512(bytes)", true);
}

/* crypto.hmac(digest, key, bytes) -> bytes */
static int l_hmac(lua_State *L)
{
    unsigned char mac[64];
    unsigned size = 0;
    slice digest = arg_text(L, 1, "digest", HMAC_USAGE), key = arg_text(L, 2, "key", HMAC_USAGE);
    slice bytes = arg_bytes(L, 3, HMAC_USAGE);
    need_openssl(L, HMAC_USAGE);
    const EVP_MD *md = slice_eq(digest, SLICE("sha256"))   ? openssl.EVP_sha256()
                       : slice_eq(digest, SLICE("sha384")) ? openssl.EVP_sha384()
                       : slice_eq(digest, SLICE("sha512")) ? openssl.EVP_sha512()
                                                           : NULL;
    if (md == NULL || key.n > CRYPTO_SIZE_MAX)
        return arg_fail(L, HMAC_USAGE, md == NULL ? "digest must be sha256, sha384 or sha512" : "key is too long");
    ENSURE(openssl.HMAC(md, key.p, (int)key.n, (const unsigned char *)bytes.p, bytes.n, mac, &size) != NULL);
    lua_pushlstring(L, (const char *)mac, size);
    return 1;
}

/* ---- bytes ---- */

/* crypto.random(count) -> bytes */
static int l_random(lua_State *L)
{
    luaL_Buffer b;
    uint64_t n = arg_whole(L, 1, "count", RANDOM);
    if (n > RANDOM_SIZE_MAX)
        return arg_fail(L, RANDOM, "count must be at most %d", RANDOM_SIZE_MAX);
    char *to = luaL_buffinitsize(L, &b, (size_t)n);
    for (size_t done = 0; done < n;) {
        ssize_t got = getrandom(to + done, n - done, 0);
        ENSURE(got > 0 || errno == EINTR);
        done += got > 0 ? (size_t)got : 0;
    }
    luaL_pushresultsize(&b, (size_t)n);
    return 1;
}

/* crypto.equal(a, b) -> boolean; the time that it takes tells only the lengths */
static int l_equal(lua_State *L)
{
    slice a = arg_text(L, 1, "a", EQUAL), b = arg_text(L, 2, "b", EQUAL);
    volatile unsigned char differs = 0;
    for (size_t i = 0; a.n == b.n && i < a.n; i++)
        differs = (unsigned char)(differs | ((unsigned char)a.p[i] ^ (unsigned char)b.p[i]));
    lua_pushboolean(L, a.n == b.n && differs == 0);
    return 1;
}

static void hex_add(struct buf *out, slice bytes)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < bytes.n; i++) {
        unsigned char c = (unsigned char)bytes.p[i];
        buf_add_char(out, digits[c >> 4]);
        buf_add_char(out, digits[c & 15]);
    }
}

static int nibble(char c)
{
    char low = (char)(c | 0x20);
    return c >= '0' && c <= '9' ? c - '0' : low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
}

static int hex_decode(struct buf *out, slice text)
{
    int bad = text.n % 2 == 0 ? 0 : -1;
    for (size_t i = 0; bad >= 0 && i < text.n; i += 2) {
        int high = nibble(text.p[i]), low = nibble(text.p[i + 1]);
        bad = high < 0 || low < 0 ? -1 : 0;
        buf_add_char(out, (char)((high & 15) << 4 | (low & 15)));
    }
    return bad;
}

struct form {
    const char *name;
    void (*add)(struct buf *out, slice bytes);
    int (*decode)(struct buf *out, slice text);
};

static const struct form *arg_form(lua_State *L, const char *usage)
{
    static const struct form forms[] = {
        {"hex", hex_add, hex_decode}, {"base64", base64_add, base64_decode},
        {"base64url", base64url_add, base64url_decode},
    };
    slice name = arg_text(L, 2, "form", usage);
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++)
        if (slice_eq(name, slice_from(forms[i].name)))
            return &forms[i];
    arg_fail(L, usage, "form must be hex, base64 or base64url, not %.32s", name.p);
    return NULL;
}

/* crypto.encode(bytes, form) -> text */
static int l_encode(lua_State *L)
{
    slice bytes = arg_bytes(L, 1, ENCODE);
    const struct form *form = arg_form(L, ENCODE);
    struct buf *out = vm_scratch(vm_of(L));
    form->add(out, bytes);
    lua_pushlstring(L, out->data, buf_size(out));
    vm_scratch_done(out);
    return 1;
}

/* crypto.decode(text, form) -> bytes | nil, message, code */
static int l_decode(lua_State *L)
{
    slice text = arg_text(L, 1, "text", DECODE);
    const struct form *form = arg_form(L, DECODE);
    if (text.n > 2 * (size_t)CRYPTO_SIZE_MAX)
        return arg_fail(L, DECODE, "text has more than %d bytes", 2 * CRYPTO_SIZE_MAX);
    struct buf *out = vm_scratch(vm_of(L));
    int rc = form->decode(out, text);
    if (rc == 0)
        lua_pushlstring(L, out->data, buf_size(out));
    vm_scratch_done(out);
    return rc == 0 ? 1 : push_fail_because(L, -ERR_BAD_VALUE, "not %s", form->name);
}

/* ---- keys ---- */

static int close_key(lua_State *L)
{
    struct signing_key *key = lua_touserdata(L, 1);
    if (key->pkey != NULL)
        memory_release(vm_memory(vm_of(L)), KEY_COST);
    signing_key_free(key);
    return 0;
}

/* A member of a JSON Web Key, whose text stays on the stack. */
static slice jwk_member(lua_State *L, const char *name)
{
    slice text = {"", 0};
    int type = lua_getfield(L, 1, name);
    if (type == LUA_TSTRING)
        text.p = lua_tolstring(L, -1, &text.n);
    else if (type != LUA_TNIL)
        arg_fail(L, KEY, "%s must be a string, not %s", name, luaL_typename(L, -1));
    if (text.n > 2 * KIB)
        arg_fail(L, KEY, "%s is too long", name);
    return text;
}

/* crypto.key(source) -> key | nil, message, code.  source: a PEM text, or a JSON Web Key as a table */
static int l_key(lua_State *L)
{
    struct jwk jwk = {0};
    bool is_pem = lua_type(L, 1) == LUA_TSTRING;
    const char *why;
    if (!is_pem && !lua_istable(L, 1))
        return arg_fail(L, KEY, "source must be a PEM text or a JSON Web Key, not %s", luaL_typename(L, 1));
    need_openssl(L, KEY);
    if (!is_pem)
        jwk = (struct jwk){jwk_member(L, "kty"), jwk_member(L, "crv"), jwk_member(L, "n"), jwk_member(L, "e"),
                           jwk_member(L, "x"),   jwk_member(L, "y"),   jwk_member(L, "d")};
    struct signing_key *key = object_new(L, KIND_KEY, sizeof(*key), 0);
    memory_claim(vm_memory(vm_of(L)), L, KEY_COST);
    int rc = is_pem ? signing_key_of_pem(arg_text(L, 1, "source", KEY), key, &why)
                    : signing_key_of_jwk(&jwk, key, &why);
    if (rc == 0)
        return 1;
    memory_release(vm_memory(vm_of(L)), KEY_COST);
    return push_fail_because(L, rc, "%s", why);
}

static const struct algorithm *arg_algorithm(lua_State *L, const char *usage)
{
    slice name = arg_text(L, 2, "algorithm", usage);
    const struct algorithm *a = algorithm_find(name);
    if (a == NULL)
        arg_fail(L, usage, "algorithm must be EdDSA, ES256, ES384, ES512, RS256, RS384, RS512, PS256, PS384 or PS512, "
                 "not %.32s", name.p);
    return a;
}

/* key:verify(algorithm, bytes, signature) -> boolean */
static int l_verify(lua_State *L)
{
    const struct signing_key *key = object_check(L, 1, KIND_KEY, VERIFY);
    const struct algorithm *a = arg_algorithm(L, VERIFY);
    slice bytes = arg_bytes(L, 3, VERIFY), signature = arg_text(L, 4, "signature", VERIFY);
    lua_pushboolean(L, signing_key_fits(key, a) && signing_key_verify(key, a, bytes, signature));
    return 1;
}

/* key:sign(algorithm, bytes) -> signature */
static int l_sign(lua_State *L)
{
    const struct signing_key *key = object_check(L, 1, KIND_KEY, SIGN);
    const struct algorithm *a = arg_algorithm(L, SIGN);
    slice bytes = arg_bytes(L, 3, SIGN);
    if (!key->can_sign)
        return arg_fail(L, SIGN, "this is a public key, which only verifies");
    if (!signing_key_fits(key, a))
        return arg_fail(L, SIGN, "the key is of another type than %s needs", lua_tostring(L, 2));
    struct buf *out = vm_scratch(vm_of(L));
    if (signing_key_sign(key, a, bytes, out) < 0)
        return arg_fail(L, SIGN, "OpenSSL cannot sign with this key");
    lua_pushlstring(L, out->data, buf_size(out));
    return 1;
}

/* key:jwk() -> table */
static int l_jwk(lua_State *L)
{
    const struct signing_key *key = object_check(L, 1, KIND_KEY, JWK);
    struct public_jwk jwk;
    if (signing_key_public(key, &jwk) < 0)
        return arg_fail(L, JWK, "OpenSSL cannot read the key");
    bool rsa = jwk.crv == NULL;
    lua_createtable(L, 0, 4);
    set_text(L, "kty", jwk.kty);
    set_text(L, rsa ? "n" : "x", jwk.a);
    if (!rsa)
        set_text(L, "crv", jwk.crv);
    if (jwk.b[0] != '\0')
        set_text(L, rsa ? "e" : "y", jwk.b);
    return 1;
}

void crypto_open(lua_State *L)
{
    static const luaL_Reg meta[] = {{"__gc", close_key}, {NULL, NULL}};
    static const luaL_Reg methods[] = {{"verify", l_verify}, {"sign", l_sign}, {"jwk", l_jwk}, {NULL, NULL}};
    static const luaL_Reg functions[] = {{"sha256", l_sha256}, {"sha512", l_sha512}, {"hmac", l_hmac},
                                         {"random", l_random}, {"equal", l_equal},   {"encode", l_encode},
                                         {"decode", l_decode}, {"key", l_key},       {NULL, NULL}};
    kind_open(L, &(struct kind_options){KIND_KEY, meta, methods, NULL, NULL});
    lua_setfield(L, -2, "Key");
    luaL_newlib(L, functions);
    lua_setfield(L, -2, "crypto");
}
