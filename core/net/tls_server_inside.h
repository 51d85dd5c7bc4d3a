/*
 * The inside of struct tls_server, for tls_server.c and tls_stream.c only.
 */
#ifndef NET_TLS_SERVER_INSIDE_H
#define NET_TLS_SERVER_INSIDE_H

#include <stdbool.h>
#include <time.h>

#include "base/limits.h"
#include "net/openssl.h"

enum { TLS_RECORD_MAX = 16 * KIB };

struct tls_shown {
    char *host, *path;               /* owned; host NULL: the first */
    SSL_CTX *ssl;                    /* owned */
    time_t from, until;
};

struct tls_server {
    unsigned users;
    struct tls_shown shown[TLS_NAMES_MAX + 1];
    unsigned count;
    bool asks, demands;              /* clients for a certificate */
    char record[TLS_RECORD_MAX];     /* what is gathered for one record, during a call */
};

#endif
