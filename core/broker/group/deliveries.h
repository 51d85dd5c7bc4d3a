/*
 * The deliveries of a group: messages that were delivered and are not settled, or that wait behind another message of
 * their key. doc/groups.md has the states and what moves a delivery from one to the next.
 *
 *     state      where it is
 *     leased     in `timers`, by when the lease is over
 *     delayed    in `timers`, by when the delay is over
 *     ready      in `ready`, by offset
 *     held       in no heap: the first of its key is another one, or one of its key is leased
 *
 * With `keyed`, deliveries of one key are chained by offset. Invariants: only the first of a chain is ever ready, and
 * none is while another of the chain is leased; if the first is neither leased nor delayed, and none of the chain is
 * leased, it is ready.
 *
 * A delivery costs 48 bytes, its places in a heap and in the hash table 12 at most. Pointers to deliveries are valid
 * until the next deliveries_add.
 */
#ifndef BROKER_GROUP_DELIVERIES_H
#define BROKER_GROUP_DELIVERIES_H

#include <stdbool.h>
#include <stdint.h>

enum delivery_state { DELIVERY_LEASED, DELIVERY_DELAYED, DELIVERY_READY, DELIVERY_HELD };

enum { DELIVERY_COUNT_MAX = (1 << 20) - 1 };

struct delivery {
    uint64_t offset;
    uint64_t claim;               /* that holds it while leased */
    int64_t at_ms;                /* when the lease or the delay is over */
    uint64_t key;                 /* hash of the message's key; 0: none */
    uint32_t count : 20;          /* deliveries that have ended and counted */
    uint32_t consumer : 10;       /* that holds it while leased */
    uint32_t state : 2;           /* enum delivery_state */
    uint32_t place;               /* in its heap */
    uint32_t chain;               /* the next in the same bucket, or the next free one */
    uint32_t next_of_key;
};

static inline void delivery_set_count(struct delivery *e, uint64_t count)
{
    e->count = (count < DELIVERY_COUNT_MAX ? (uint32_t)count : DELIVERY_COUNT_MAX) & DELIVERY_COUNT_MAX;
}

struct heap {
    uint32_t *at;                 /* owned */
    uint32_t count, cap;
};

struct key_slot;

struct deliveries {
    struct delivery *all;         /* owned */
    uint32_t used, cap, free;     /* used: the highest index so far, free ones included */
    uint32_t count, leased, delayed;
    uint32_t *buckets;            /* owned */
    uint32_t bucket_count;        /* a power of 2, or 0 */
    struct heap timers, ready;
    bool keyed;
    struct key_slot *keys;        /* owned; open addressing */
    uint32_t key_count, key_cap;
};

void deliveries_init(struct deliveries *d, bool keyed);
void deliveries_fini(struct deliveries *d);

struct delivery *deliveries_find(const struct deliveries *d, uint64_t offset);   /* NULL: none */

/* A new one, ready or held. There must be none of that offset. */
struct delivery *deliveries_add(struct deliveries *d, uint64_t offset, uint64_t key);
void deliveries_remove(struct deliveries *d, struct delivery *e);

void deliveries_lease(struct deliveries *d, struct delivery *e, uint64_t claim, int64_t until_ms);   /* also extends */
void deliveries_delay(struct deliveries *d, struct delivery *e, int64_t until_ms);
void deliveries_free(struct deliveries *d, struct delivery *e);   /* ready, or held behind its key */

/* The ready one with the lowest offset; NULL: none. */
struct delivery *deliveries_first(const struct deliveries *d);

/* The leased or delayed one that is over first; NULL: none. */
struct delivery *deliveries_next_due(const struct deliveries *d);

/* It no longer stands against others of its key, and has none from now on. It is neither leased nor ready. */
void deliveries_drop_key(struct deliveries *d, struct delivery *e);

/* Moves the times of all by so many milliseconds, except those from `never` on. */
void deliveries_shift(struct deliveries *d, int64_t by_ms, int64_t never_ms);

/* The one that stands in the way of most: of a key that more than half of all have, the one that is leased or else the
 * first; where there is no such key, the one at the offset `lowest`, or if that is not out, the one that is ready or
 * due first. *held: how many wait behind it. NULL: there are none. */
const struct delivery *deliveries_foremost(const struct deliveries *d, uint64_t lowest, uint32_t *held);

/* Visits all in no order: start with *at = 0; NULL at the end. The one that it returned may be removed, and none may be
 * added meanwhile. */
struct delivery *deliveries_each(const struct deliveries *d, uint32_t *at);

/* Changes whether keys matter. */
void deliveries_set_keyed(struct deliveries *d, bool keyed);

#endif
