/*
 * All groups of this node: their records in the topic _groups, and what the leader does with them.
 *
 * Every node applies the records that are committed. A node that leads has also applied those of its own log that are
 * not committed yet: it appends a record and applies it in one step. When it ceases to lead, it forgets all groups and
 * reads the log again. A group may be freed by that, by groups_turn and by a delete; whoever waits looks it up again.
 *
 * A group is used by topic: before each use groups_use makes it fit for this epoch (doc/groups.md, "Cut").
 */
#ifndef BROKER_GROUP_GROUPS_H
#define BROKER_GROUP_GROUPS_H

#include "broker/group/group_record.h"
#include "broker/topic/topics.h"

#define GROUP_LOG_NAME "_groups"

struct groups;
struct reader;

/* A group and what belongs to it on this node. */
struct held_group {
    struct group state;
    char *name;                      /* owned */
    char *topic_name;                /* owned */
    char *key;                       /* owned; of its records */
    struct topic_id topic;
    uint64_t checked_epoch;          /* its histories agree with the topic's, in this epoch */
    int64_t used_ms;                 /* its last claim, settle or change on this leader; 0: none yet */
    uint64_t snapshot_at, size;      /* in _groups: where its last snapshot or create record begins, and its size */
    struct mark wakes;               /* claims that wait: each wants a number of its own, see groups_wake */
    uint64_t tickets;
    struct waiter fresh;             /* on the topic's `readable`, while claims wait */
    bool said_blocked;               /* the log says that it is blocked */
    struct buf ended;                /* owned; of struct ended, for groups_next_ended */
    struct reader *reader;           /* owned; the batches that the last claim read, or NULL */
    int64_t due_ms;                  /* when it has something to do by itself, or INT64_MAX */
};

/* Reads _groups. Waits for the disk. 0, or an error with a sentence in `why`. */
int groups_open(struct topics *ts, struct groups **out, struct buf *why);
void groups_close(struct groups *gs);

/* Once in each turn, after marks have risen and before tasks run: applies committed records, ends leases that are over.
 * True when there is more to do at once. */
bool groups_turn(struct groups *gs);

/* When groups_turn has something to do next, as clock_ns; 0: nothing is due. */
uint64_t groups_deadline_ns(const struct groups *gs);

/* Snapshots and removes superfluous files of _groups, and groups whose topics are gone; a timer calls it. */
void groups_trim(struct groups *gs);

/* The time in deadlines of groups: the date, as messages have it. While this node leads, it goes on by the monotonic
 * clock; where the date is set, groups_turn moves all deadlines with it (doc/groups.md, "Time"). */
int64_t groups_now_ms(const struct groups *gs);

/* While this node leads: deletes topics whose `expire` is over, with their groups, but none of which a group has not
 * settled everything: that one is named in the log. A step at a time: more may be due afterwards. */
void groups_expire_topics(struct groups *gs, uint64_t now_ns);

size_t groups_count(const struct groups *gs);

/* Rises when a message begins to die, and when this node begins to lead. Fails when the groups are closed. */
struct mark *groups_deaths(struct groups *gs);

/* Visits the groups of a topic, or of all topics (NULL), in no order: start with *at = 0; NULL at the end. */
struct held_group *groups_next(struct groups *gs, const struct topic *t, size_t *at);

/* NULL: there is none. */
struct held_group *groups_find(struct groups *gs, const struct topic *t, slice name);

/* The topic _groups; NULL before the first group. It is made by groups_make_log: 0 and the mark to wait for; after that
 * groups_log is there. */
struct topic *groups_log(struct groups *gs);
int groups_make_log(struct groups *gs, uint64_t *want);

/* The mark at which records of a topic's groups are acknowledged. */
struct mark *groups_mark(struct groups *gs, struct topic *t);

/* 0 if the group may be used now; -ERR_UNAVAILABLE, or an error of topics_may_append. */
int groups_use(struct groups *gs, struct held_group *g, struct topic *t);

/* Each appends a record, applies it, and returns the offset after it: it is acknowledged when groups_mark is there. 0;
 * -ERR_GROUP_EXISTS, -ERR_TOO_MANY, -ERR_BUSY: the order cannot be changed while messages are leased; or an error of
 * topics_append. */
struct group_place {
    uint64_t cursor, epoch;          /* the epoch of the message before it */
};
int groups_create(struct groups *gs, struct topic *t, slice name, const struct group_settings *s,
                  const struct group_place *from, uint64_t *want);
int groups_set(struct groups *gs, struct held_group *g, const struct group_settings *s, uint64_t *want);
int groups_delete(struct groups *gs, struct held_group *g, uint64_t *want);
int groups_seek(struct groups *gs, struct held_group *g, const struct group_place *to, uint64_t *want);

/* What stands in the way of a group that delivers nothing fresh, because it has GROUP_AHEAD_MAX messages out. */
struct blocked {
    uint64_t offset;
    const char *reason;              /* leased; delayed; dying: its letter is not written; ready: nobody claims it */
    int64_t until_ms;                /* of leased and delayed */
    const char *consumer;            /* of leased; "": it has no name */
    uint32_t held;                   /* messages of its key that wait behind it */
    slice key;                       /* where the order is that of keys; p == NULL: it has none. Valid until a claim */
};

/* False: the group is not blocked. */
bool groups_blocked(struct held_group *g, struct topic *t, struct blocked *out);

/* ---- settling ---- */

struct settle {
    enum settle_what what;           /* ack, dead (reject), release, extend, return, leave out */
    uint64_t offset, claim;
    bool has_delay;                  /* of a release: else the group's retry decides */
    uint64_t ms;                     /* of a release: the delay; of extend: from now on */
    slice reason;                    /* of a reject: what the consumer has said, at most GROUP_REASON_MAX; or empty */
    bool lost;                       /* the result */
};

/* Settles what its leases allow, and sets `lost` in each. *want is 0 where nothing was appended. */
int groups_settle(struct groups *gs, struct held_group *g, struct settle *all, size_t n, uint64_t *want);

/* Gives back all that a claim holds, which does not count as a delivery. */
void groups_return(struct groups *gs, struct held_group *g, uint64_t claim);

/* The letter of a dying message is written: settles it. *want is 0 where it is not dying (any more). */
int groups_bury(struct groups *gs, struct held_group *g, uint64_t offset, uint64_t *want);

/* ---- retries that a policy decides ---- */

/* A lease that has ended, and counted, without a delay of its own. */
struct ended {
    uint64_t offset;
    uint32_t count;
    enum settle_what what;           /* release, expire */
};

/* While `decide`, the next delivery after such an end waits for GROUP_DECIDE_MS or the group's own delay, whichever is
 * longer, and until then groups_retry may decide otherwise. */
void groups_decide_retries(struct groups *gs, bool decide);

/* Rises when there are ends to decide about. Fails when the groups are closed. */
struct mark *groups_retries(struct groups *gs);

/* Takes the first of them. False: there is none. */
bool groups_next_ended(struct held_group *g, struct ended *out);

struct retry {
    uint64_t offset;
    uint32_t count;
    bool dead, has_delay;            /* neither: the group's settings decide */
    uint64_t ms;
};

/* *want is 0 where the message is no longer waiting after so many deliveries. */
int groups_retry(struct groups *gs, struct held_group *g, const struct retry *r, uint64_t *want);

/* ---- claiming ---- */

struct claim_options {
    slice consumer;
    uint32_t limit;
    size_t bytes;
};

/* A message of a claim, in `out`: followed by `size` bytes, as message_write encodes them. */
struct claimed_message {
    uint64_t offset, epoch;
    int64_t time_ms;
    uint32_t delivery;
    uint32_t size;
};

struct claim {
    uint64_t number;                 /* a lease is this and an offset */
    uint32_t count;
    bool unfinished;                 /* there may be more, which this step did not look at */
};

/* Leases messages and appends them to `out`. 0, also with none; after -ERR_DAMAGED or an error of topics_append nothing
 * is leased. */
int groups_claim(struct groups *gs, struct held_group *g, struct topic *t, const struct claim_options *o,
                 struct buf *out, struct claim *c);

/* Where a claim that found nothing waits: until g->wakes reaches this. Call it once for each wait. */
uint64_t groups_wait(struct held_group *g, struct topic *t);

/* Wakes the claim that has waited longest, where there may be something for it. A claim that has ended calls it, so
 * that what it left, or could not take, goes to the next. */
void groups_wake(struct held_group *g, struct topic *t);

#endif
