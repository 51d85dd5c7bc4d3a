/*
 * Records of groups: messages in the topic _groups (doc/format.md, "Records of groups"). A record's key names the
 * group, the first byte of its payload is the kind. record_... append the payload of a record to `out`; group_apply
 * reads one.
 *
 * To change a record: doc/format.md and its table there first; then both functions here; test_groups_log.c and
 * tests/fuzz/seeds.
 */
#ifndef BROKER_GROUP_GROUP_RECORD_H
#define BROKER_GROUP_GROUP_RECORD_H

#include "broker/group/group.h"
#include "store/format/record.h"

enum record_kind {
    RECORD_CREATE = 1, RECORD_SET, RECORD_DELETE, RECORD_CLAIM, RECORD_SETTLE, RECORD_SEEK, RECORD_GONE, RECORD_CUT,
    RECORD_SNAPSHOT, RECORD_RANGES, RECORD_DELIVERIES, RECORD_ACKED, RECORD_SHIFT,
};

/* What a settle does to messages. Offsets from `offset` on, `n` of them, where settle_is_range. */
enum settle_what { SETTLE_ACK = 1, SETTLE_DEAD, SETTLE_RELEASE, SETTLE_EXPIRE, SETTLE_EXTEND, SETTLE_RETURN,
                   SETTLE_DYING, SETTLE_LEAVE_OUT, SETTLE_OUTDATED };

/* Is it of several messages? */
static inline bool settle_is_range(enum settle_what what)
{
    return what == SETTLE_ACK || what == SETTLE_DEAD || what == SETTLE_LEAVE_OUT || what == SETTLE_OUTDATED;
}

struct settle_run {
    enum settle_what what;
    uint64_t offset;
    uint32_t n;
    uint32_t count;               /* of release, expire and return: deliveries that counted */
    uint64_t claim;               /* of ack and extend; of dying: enum dying_why. Of the others it is not written */
    int64_t at_ms;                /* of release, expire, return: not before this, 0 = at once; of extend: until */
    slice reason;                 /* of dying: what the consumer has said, or empty */
    bool decided;                 /* not in the record: a policy is to be asked about the next delivery */
};

struct claim_record {
    uint64_t claim;
    int64_t now_ms, until_ms;
    uint64_t epoch, top;          /* of the highest message, and the offset after it */
    slice consumer;
};

struct claimed {
    uint64_t offset, key;
    uint32_t count;
};

/* create and seek: the cursor, and the epoch of the message before it. */
void record_create(struct buf *out, uint64_t cursor, uint64_t epoch);
void record_kind_only(struct buf *out, enum record_kind kind);                    /* set, delete */
void record_claim(struct buf *out, const struct claim_record *c, const struct claimed *all, uint32_t n);
void record_settle(struct buf *out, const struct settle_run *runs, uint32_t n);
void record_seek(struct buf *out, uint64_t cursor, uint64_t epoch, uint64_t generation);
void record_offset(struct buf *out, enum record_kind kind, uint64_t to);          /* gone, cut */

/* All leases and delays are over so much later: the date has been set. */
void record_shift(struct buf *out, int64_t by_ms);

/* Appends the messages of a snapshot, each with this key, and counts them. `headers`: those of a create record. */
uint32_t record_snapshot(struct buf *out, const struct group *g, slice key, slice headers);

/* The settings in a record's headers, on top of what *s holds; names that are no settings are skipped. */
void record_settings(slice headers, struct group_settings *s);

/* Applies a record that is not a delete. 0, or -ERR_FORMAT: it is not understood, and the group may be half changed. */
int group_apply(struct group *g, const struct message *m);

#endif
