/*
 * TLS 1.3 of one connection, by OpenSSL, between buffers: it decrypts what has arrived from one buffer into another,
 * and encrypts what is to be sent. It knows no sockets; net/link.c moves the bytes.
 *
 * A context is what connections are authenticated by. There is one kind so far: a secret that both sides have. The key
 * derived from it is an external PSK (RFC 8446, section 2.2), always together with an ephemeral X25519 exchange, so a
 * secret that leaks later opens no recorded connection. Nothing else is offered or accepted: no certificate, no
 * session ticket, no early data, no older version. A context for certificates would be made by a function of its own;
 * the rest of this interface does not depend on it.
 *
 * A connection shakes hands, then is open, and may fail at any time; tls_why then says how. After a failure `out` holds
 * the alert that tells the other side.
 */
#ifndef NET_TLS_H
#define NET_TLS_H

#include "base/buf.h"
#include "net/secret.h"

enum { TLS_NAME_MAX = 64 };

struct tls_context;
struct tls;

/* A context for a secret, which is copied. 0, or -ERR_UNAVAILABLE, after an error line: OpenSSL cannot be used. */
int tls_context_new(const struct secret *s, struct tls_context **out);
void tls_context_free(struct tls_context *c);

enum tls_side { TLS_CLIENT, TLS_SERVER };

/* `name` says which of the keys that the secret stands for is meant. It is sent in clear text; both sides must use the
 * same one. At most TLS_NAME_MAX bytes. The context must outlive the connection. */
struct tls *tls_new(const struct tls_context *c, enum tls_side side, slice name);
void tls_free(struct tls *t);

/* Takes what has arrived from `in` and adds what is to be sent to `out`; to be called first with an empty `in`, and
 * then whenever something has arrived. 1: the connection is open, and `in` may hold what comes after the handshake; 0:
 * more must arrive; -EPROTO: it has failed. */
int tls_handshake(struct tls *t, struct buf *in, struct buf *out);

/* Of an open connection: takes all of `in` and adds to `plain` what is in its records; part of a record waits inside
 * for the rest. What was decrypted before a failure has been added. 0; -EPIPE: the other side has closed; -EPROTO: it
 * has failed, and the connection must not be used any more. */
int tls_decrypt(struct tls *t, struct buf *in, struct buf *plain, struct buf *out);

/* Of an open connection. 0 or -EPROTO. */
int tls_encrypt(struct tls *t, slice plain, struct buf *out);

/* Tells the other side that nothing more will come. */
void tls_close(struct tls *t, struct buf *out);

/* What made it fail, as a sentence about the other side ("it ..."). */
const char *tls_why(const struct tls *t);

/* The records after which a side changes its key. For tests. */
void tls_set_rekey(struct tls *t, uint64_t records);

#endif
