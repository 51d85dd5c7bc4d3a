/*
 * What a token is, and how one is asked for.
 */
#ifndef BROKER_ACCESS_ACCESS_TOKEN_H
#define BROKER_ACCESS_ACCESS_TOKEN_H

#include <stdbool.h>

#include "base/slice.h"

enum { ACCESS_HASH_SIZE = 32, ACCESS_SECRET_BYTES = 32 };

/* What a token may do: bits. A route says which of them it needs (scripts/lignum/route.lua). */
enum access_action {
    ACCESS_READ = 1, ACCESS_PUBLISH = 2, ACCESS_CONSUME = 4, ACCESS_ADMIN = 8, ACCESS_OBSERVE = 16, ACCESS_OWN = 32,
};

struct access_token {
    char *name;                      /* owned */
    char *topics;                    /* owned; patterns, separated by commas */
    unsigned may;                    /* enum access_action */
    int64_t made_ms, expires_ms;     /* dates; expires_ms 0: never */
    unsigned char hash[ACCESS_HASH_SIZE];
    bool declared;                   /* in lignum.lua; otherwise it has a record, */
    uint64_t at;                     /* at this offset of _tokens */
};

enum access_mode { ACCESS_BY_TOKENS, ACCESS_OPEN, ACCESS_CLOSED };

/* A token that is to be made. */
struct access_grant {
    slice name, topics;              /* as in a token */
    unsigned may;
    int64_t expires_ms;
    unsigned char hash[ACCESS_HASH_SIZE];
};

#endif
