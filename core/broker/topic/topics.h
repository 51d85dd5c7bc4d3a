/*
 * All topics of this node: creating, changing and deleting them, and what holds for all of them together.
 *
 * Which topics exist is stored in a topic, `_topics` (broker/topic/topic_log.h). A change takes effect when its record
 * reaches the acknowledging mark of _topics, in order, and so in the same way on every node.
 */
#ifndef BROKER_TOPIC_TOPICS_H
#define BROKER_TOPIC_TOPICS_H

#include "broker/topic/birth.h"
#include "broker/topic/expiry.h"
#include "broker/topic/registry.h"
#include "store/log/store.h"

/* Reads _topics and opens every topic's journal. Waits for the disk. A directory that has no record is left alone, and
 * logged. 0 or an error, then with a sentence in `why`. */
int topics_open(struct store *s, struct role *role, struct topics **out, struct buf *why);

/* The journals stay open for store_close, which has still to write what they hold. */
void topics_close(struct topics *ts);

struct topic *topics_find(struct topics *ts, slice name);

/* The same for a name that is looked for in each turn: `found` is what was found last, {0} at first. */
struct topic_found {
    uint64_t changes;                 /* registry.changes then */
    struct topic *topic;              /* valid while that is what it was */
};
struct topic *topics_find_again(struct topics *ts, slice name, struct topic_found *found);

struct topic *topic_deref(struct topics *ts, struct topic_ref ref);   /* NULL once deleted */
/* A topic that exists and whose directory could not be made, which topics_find and topics_at leave out: tries again. 0:
 * it is open now, and topics_find finds it; -ENOSPC or -ERR_STORAGE: not yet, but *out may be set and deleted;
 * -ERR_UNKNOWN_TOPIC: there is none of that name. */
int topics_find_unopened(struct topics *ts, slice name, struct topic **out);

/* Tries again for all of them; a timer calls it. False when none is left. */
bool topics_open_late(struct topics *ts);

size_t topics_count(const struct topics *ts);
struct topic *topics_at(struct topics *ts, size_t i);                 /* the i-th in the order of names */

/* How many topics have lower names than this one; `equal`: or the same. The next one is topics_at of it. */
size_t topics_below(const struct topics *ts, slice name, bool equal);
struct topic *topics_log(struct topics *ts);
struct role *topics_role(const struct topics *ts);

/* The date in milliseconds since 1970, without jumps of the system's clock (base/wall_clock.h). */
int64_t topics_date(struct topics *ts);

/* That date is the one of the newest message and the time since the start, because the system's clock is behind it. */
bool topics_date_is_guess(const struct topics *ts);

/* Each change appends a record to _topics and returns the offset after it. The change is made when topics_applied is
 * there; that the record is committed is not enough. 0, or an error, and then the change is never made: -ERR_FORBIDDEN
 * for an internal topic, which clients neither change nor delete; -ERR_TOO_MANY_TOPICS: topics_set_most. */
int topics_create(struct topics *ts, slice name, const struct topic_settings *settings, uint64_t *want);

/* The same with labels and a source. While a creation of the name is under way it waits for that one, whatever that
 * one's birth is. A source that is deleted before the record takes effect makes no topic. */
struct topic_plan {
    slice name;
    const struct topic_settings *settings;
    struct topic_birth birth;
};
int topics_create_born(struct topics *ts, const struct topic_plan *plan, uint64_t *want);
int topics_create_internal(struct topics *ts, slice name, const struct topic_settings *settings, uint64_t *want);
int topics_set(struct topics *ts, struct topic *t, const struct topic_settings *settings, uint64_t *want);
int topics_delete(struct topics *ts, struct topic *t, uint64_t *want);

/* The topic of that id, also one that is gone or whose directory could not be made; or NULL. */
struct topic *topics_by_id(const struct topics *ts, struct topic_id id);

/* What a topic's settings are once all changes under way have taken effect: topics_set begins with these. */
struct topic_settings topics_settings_to_be(const struct topics *ts, const struct topic *t);

/* Committed changes take effect; the turn calls this when marks may have risen, before tasks run. May wait for the disk
 * while directories are made or removed. True when there was one. */
bool topics_apply(struct topics *ts);

/* Is there a committed change that has not taken effect? Also a task may commit one, by what it says of the set. */
bool topics_have_unapplied(const struct topics *ts);

/* Records of _topics below this mark have taken effect here. Waits end with an error when leading ends. */
struct mark *topics_applied(struct topics *ts);

/* No topic of a token's name is here. 0: there is none; -ERR_UNAVAILABLE: the one that the token is of may have been
 * created by a record that has not come here yet, or not taken effect. */
int topics_check_unknown(struct topics *ts, const struct topic_token *token);

/* A follower's leader has records of _topics below this mark, and more than those here may come: until they have taken
 * effect here, a topic that is not known may yet be. UINT64_MAX: no leader has said it. */
void topics_note_leader(struct topics *ts, uint64_t end);

/* Do the files of _topics begin above 0, and no snapshot is known in them? */
bool topics_lack_snapshot(const struct topics *ts);

/* Has _topics been cut below a record that has taken effect, or begun again above it? */
bool topics_undone(const struct topics *ts);

/* Removes files that retention does not keep, of so many topics as one turn has time for; a timer calls it, and then
 * each turn until all have been looked at. NOTHING: no topic has retention. */
enum trimmed { TRIMMED_NOTHING, TRIMMED_SOME, TRIMMED_ALL };
enum trimmed topics_trim(struct topics *ts);

/* Of topics with `expire` (broker/topic/expiry.h). */
struct expiry *topics_expiry(struct topics *ts);

/* Appends one batch (topic_append) if the topic takes messages now. 0 and the first offset; -ENOSPC, -ERR_TOO_LARGE or
 * an error of topics_may_append: nothing was appended then. */
int topics_append(struct topic *t, struct append *a, uint64_t *first);

/* 0 if the topic takes messages now; else -ERR_STOPPING, -ERR_UNKNOWN_TOPIC, -ERR_NOT_LEADER, -ERR_UNCONFIRMED,
 * -ERR_UNAVAILABLE or -ERR_NO_COPIES. */
int topics_may_append(const struct topic *t);

/* No more topics than this are created, internal ones and those under way included (limits.topics). There may be more
 * all the same: by a lower limit than before, or by a leader with another one. */
void topics_set_most(struct topics *ts, size_t most);

/* From now on appends are refused with -ERR_STOPPING. */
void topics_stop(struct topics *ts);

/* Meanwhile appends are refused with -ERR_NOT_LEADER: this node hands over. */
void topics_hold(struct topics *ts, bool hold);

/* ---- for the cluster ---- */

void topics_set_hooks(struct topics *ts, const struct topic_hooks *hooks);   /* outlives us; NULL: none any more */

/* Settles every topic: the role or the synced set has changed. */
void topics_settle(struct topics *ts);

/* Leading has begun, and the members that count are known: reads the changes that are appended and not yet applied. */
void topics_begin(struct topics *ts);

/* Leading is over: waits for acknowledgements end with this error, and changes under way are forgotten. */
void topics_fail(struct topics *ts, int rc);

/* What all topics have together. It visits them after a log was cut, else not. */
const struct topic_sums *topics_sums(struct topics *ts);

/* The date of the newest message that this node had when it started, in milliseconds since 1970; 0: it had none. */
int64_t topics_newest_ms(const struct topics *ts);

/* What this node holds, for the rules of the role (broker/election/role.h). */
struct holdings topics_holdings(const struct topics *ts);

/* The number of members that the synced set keeps: the smallest `copies` of any live topic, or what it becomes by the
 * changes under way, where that is less. Otherwise no change could commit that makes it less while a member is gone.
 * A topic with more copies than the set has members acknowledges nothing, so a smaller set is safe [m]. */
unsigned topics_copies_kept(const struct topics *ts);

#endif
