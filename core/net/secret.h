/*
 * The secret that the nodes of a cluster share (cluster.replication.secret): random bytes, written in hexadecimal.
 *
 * Nothing is encrypted with it directly. A key for each purpose is derived from it by HKDF-SHA-256 (RFC 5869), so
 * that the keys of one cluster, protocol or version say nothing about another's.
 *
 * The strength of an arbitrary text cannot be judged, and a passphrase can be guessed from a recorded handshake. So
 * only the form of `lignum secret new` is accepted: hexadecimal digits, which people do not invent, and enough of them.
 */
#ifndef NET_SECRET_H
#define NET_SECRET_H

#include "base/buf.h"
#include "base/limits.h"

enum {
    SECRET_SIZE_NEW = 32,            /* of a new one: 256 bits */
    SECRET_KEY_SIZE = 32,            /* of a derived key */
};

struct secret {
    unsigned char bytes[SECRET_SIZE_MAX];
    size_t size;                     /* 0: there is none */
};

/* Reads the hexadecimal form; an empty text is no secret. 0, or -EINVAL: of another form, too short or too long. */
int secret_parse(slice text, struct secret *out);
void secret_clear(struct secret *s);

/* A new one, as text. */
void secret_mint(struct buf *out);

/* HKDF-SHA-256 without a salt; `info` names the purpose. OpenSSL must be loaded. */
void secret_derive(const struct secret *s, slice info, unsigned char key[SECRET_KEY_SIZE]);

#endif
