/*
 * What a listener with TLS shows to its clients: a certificate with its key, others for further names (SNI), and the
 * CA whose certificates it takes from clients, if any. Made from files in PEM form, all of them or none.
 *
 * TLS 1.2 and 1.3, with ciphers that have forward secrecy and authenticate what they encrypt (AEAD); no compression, no
 * renegotiation, no early data; ALPN http/1.1. Sessions are resumed by tickets, whose key lives in memory alone and is
 * this object's own: what was negotiated before a reload is not resumed after it.
 *
 * It is shared: by the listener, and by each connection that has begun with it (net/tls_stream.h).
 */
#ifndef NET_TLS_SERVER_H
#define NET_TLS_SERVER_H

#include <time.h>

#include "base/buf.h"
#include "base/limits.h"

/* A certificate, its chain behind it, and its key. */
struct tls_pair {
    const char *host;                /* "node.example" or "*.example"; NULL: for all clients that name no other */
    const char *cert, *key;          /* paths */
};

struct tls_files {
    struct tls_pair pairs[TLS_NAMES_MAX + 1];
    unsigned count;                  /* the first has no host */
    const char *client_ca;           /* path; NULL: clients are not asked for a certificate */
    bool client_optional;            /* one without a certificate is let in all the same */
};

/* Reads the description that lignum.lua's `tls` becomes (scripts/lignum/listeners.lua): lines of fields with tabs
 * between them, the first with the CA of clients, or nothing, and "optional" or "required"; then host, cert and key of
 * each pair. Overwrites the text, which `out` points into. 0 or -EINVAL. */
int tls_files_read(struct buf *text, struct tls_files *out);

struct tls_server;

/* 0; -EINVAL, and `why` names the file and what is wrong with it; -ERR_UNAVAILABLE after an error line. */
int tls_server_new(const struct tls_files *f, struct tls_server **out, struct buf *why);
struct tls_server *tls_server_share(struct tls_server *s);
bool tls_server_demands(const struct tls_server *s);   /* a certificate of each client */
void tls_server_drop(struct tls_server *s);   /* NULL does nothing; the last one frees it */

/* The certificate number i, as in tls_files. False: there is none. The slices live as long as the object. */
struct tls_validity {
    slice host, path;                /* host.n == 0: the first */
    time_t from, until;
};
bool tls_server_validity(const struct tls_server *s, unsigned i, struct tls_validity *out);

#endif
