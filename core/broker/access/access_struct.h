/*
 * The inside of struct access, for the files of this room only.
 */
#ifndef BROKER_ACCESS_ACCESS_STRUCT_H
#define BROKER_ACCESS_ACCESS_STRUCT_H

#include "base/buf.h"
#include "base/map.h"
#include "broker/access/access_token.h"
#include "broker/topic/topics.h"

enum { HASH_INDEXED = 8 };           /* bytes of a digest that find a token; the rest is compared */

struct access {
    struct topics *topics;           /* outlives us */
    struct topic_found log;          /* _tokens */
    struct map by_name, declared;    /* name -> owned token, of records and of lignum.lua */
    struct map by_hash;              /* HASH_INDEXED bytes -> token of either */
    enum access_mode mode;
    uint64_t stale_ms;
    bool made;                       /* _tokens exists, or has existed since the start */
    uint64_t changes;
    uint64_t applied;                /* records of _tokens below this have been applied */
    unsigned cuts;                   /* of _tokens, as it was then */
    struct topic_id log_id;
};

/* Applies one committed record of _tokens at that offset. */
void access_record_take(struct access *a, const struct message *m, uint64_t offset);

/* Writes the record that makes a token, or revokes the token `name`. */
void access_record_write(struct buf *out, const struct access_grant *g, int64_t made_ms);
void access_record_revoke(struct buf *out, slice name);

/* Adds a token, or leaves it out where its digest is another one's: false. */
bool access_put(struct access *a, const struct access_grant *g, int64_t made_ms, uint64_t at, bool declared);
void access_drop(struct access *a, struct map *of, slice name);
void access_forget(struct access *a, struct map *of);

#endif
