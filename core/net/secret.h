/*
 * A secret that nodes share, shown without being sent: each side answers the other's nonce with an HMAC-SHA-256
 * (RFC 2104, FIPS 180-4) of it. libcrypto is loaded when the first secret is: a node without one does not pay for it.
 *
 * This proves who opened a connection. It neither hides nor signs what goes over it afterwards.
 */
#ifndef NET_SECRET_H
#define NET_SECRET_H

#include "base/buf.h"

enum { NONCE_SIZE = 16, PROOF_SIZE = 32, SECRET_MAX = 1024, SECRET_MIN = 16 };

struct secret {
    char *key;                /* owned; NULL: there is none */
    size_t size;
};

/* Takes a secret; an empty one is none. 0; -EINVAL: shorter than SECRET_MIN or longer than SECRET_MAX;
 * -ERR_UNAVAILABLE: libcrypto cannot be loaded. */
int secret_init(struct secret *s, slice key);
void secret_fini(struct secret *s);

void nonce_mint(char out[NONCE_SIZE]);

/* HMAC-SHA-256(key, text); there must be a key. */
void secret_mac(const struct secret *s, slice text, char out[PROOF_SIZE]);

/* HMAC(key, role NUL what): `role` keeps one side's proof from being sent back as the other's. */
void secret_prove(const struct secret *s, const char *role, slice what, char out[PROOF_SIZE]);

/* In constant time. */
bool secret_check(const struct secret *s, const char *role, slice what, slice proof);

#endif
