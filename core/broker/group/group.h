/*
 * The state of one group (doc/groups.md): what its records say, and what follows from them.
 *
 * This knows no topic, no log and no clock: time is passed in, and messages are offsets. group_apply is the only way in
 * which a record changes a group, on the leader that has just appended it and on every other node. The leader asks the
 * functions below what the next record is to say. group_record.h has the records.
 */
#ifndef BROKER_GROUP_GROUP_H
#define BROKER_GROUP_GROUP_H

#include "base/limits.h"
#include "base/map.h"
#include "broker/group/deliveries.h"
#include "broker/group/group_settings.h"
#include "broker/group/settled.h"

/* The offset after the highest message of an epoch that the group has met. */
struct history {
    uint64_t epoch, top;
};

/* Offsets that a claim has acked. */
struct acked {
    uint64_t claim, from, to;
};

struct consumer {
    char name[GROUP_CONSUMER_NAME_MAX + 1];
    unsigned place;               /* in group.consumers */
    uint32_t leased;
    int64_t last_ms;              /* its last claim */
};

struct group {
    struct group_settings settings;
    struct settled settled;
    struct deliveries out;
    uint64_t next;                /* of the offsets below it, none is fresh */
    uint64_t generation;
    uint32_t dying;               /* deliveries whose letter is not written yet */
    struct map reasons;           /* of dying deliveries: what their consumers have said */
    struct history histories[GROUP_HISTORIES_MAX];   /* the epochs rise, the tops never fall */
    unsigned history_count;
    struct acked *acked;          /* owned; a ring of GROUP_ACKED_MAX, or NULL */
    unsigned acked_at, acked_count;
    struct consumer **consumers;  /* owned, as each of them; the first has no name */
    unsigned consumer_count;
    struct map consumers_by_name;
    struct {
        uint64_t claims, acks, releases, rejects, expired, redelivered, dead, removed, outdated;
    } count;
};

/*
 * A dying message is dead, and stays until its copy is in the topic of dead letters: it is delayed until DYING_MS, and
 * its claim says why.
 */
#define DYING_MS JSON_INTEGER_MAX
enum dying_why { DYING_REJECTED = 1, DYING_DELIVERIES, DYING_OUTDATED, DYING_DECIDED };

static inline bool is_dying(const struct delivery *e)
{
    return e->state == DELIVERY_DELAYED && e->at_ms == DYING_MS;
}

/* What the consumer of a dying message has said; empty: nothing. */
slice group_reason(const struct group *g, const struct delivery *e);

void group_init(struct group *g, const struct group_settings *settings);
void group_fini(struct group *g);

/* ---- what the leader asks ---- */

/* The lowest offset that is neither settled nor out. */
uint64_t group_fresh(struct group *g);

/* Deliveries whose delay is over at `now_ms` become ready. The next lease or delay that is over later, or INT64_MAX. */
int64_t group_wake_delayed(struct group *g, int64_t now_ms);

/* A lease that is over at `now_ms`; NULL: none. */
struct delivery *group_expired(struct group *g, int64_t now_ms);

/* The message that a claim holds; NULL: that lease is over. */
struct delivery *group_leased(struct group *g, uint64_t offset, uint64_t claim);

bool group_has_acked(const struct group *g, uint64_t offset, uint64_t claim);

/* How many more may be leased. */
uint32_t group_room(const struct group *g);

/* Can nothing fresh be delivered before something is settled? */
bool group_is_blocked(const struct group *g);

/* Where the highest message is that the group knows of. */
uint64_t group_top(const struct group *g);

/* The index of a consumer of this name, new where there is none. With too many names it is 0. */
unsigned group_consumer(struct group *g, slice name);

/* Holds a message for a claim, before the record of the claim is written. */
void group_hold(struct group *g, struct delivery *e, uint64_t claim, int64_t until_ms, unsigned consumer);

/* Ends the lease, before the record of that is written: the message is neither leased nor delivered. */
void group_let_go(struct group *g, struct delivery *e);

/* ---- what records do ---- */

void group_note_history(struct group *g, uint64_t epoch, uint64_t top);
void group_settle(struct group *g, uint64_t from, uint64_t to);
void group_remember_ack(struct group *g, uint64_t claim, uint64_t from, uint64_t to);
/* `reason`: what the consumer has said; empty: nothing. */
void group_die(struct group *g, struct delivery *e, enum dying_why why, slice reason);
void group_seek(struct group *g, uint64_t cursor, uint64_t epoch);
void group_cut(struct group *g, uint64_t to);
void group_remove_below(struct group *g, uint64_t to);

#endif
