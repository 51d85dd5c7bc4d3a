/*
 * The log of topics, _topics: changes are asked for by appending records, and take effect once those are committed, in
 * order. broker/topic/topics.c (the set of topics) and topic_log.c share this, and nobody else.
 */
#ifndef BROKER_TOPIC_TOPIC_LOG_H
#define BROKER_TOPIC_TOPIC_LOG_H

#include "broker/topic/topics.h"

#define LOG_NAME "_topics"

struct topics {
    struct store *store;          /* outlives us */
    struct role *role;            /* outlives us */
    struct registry all;
    struct topic *log;
    uint64_t applied;             /* records of the log below this have taken effect */
    struct list changes;          /* in the order of their records */
    struct map deleted;           /* while opening: topics whose directory should be gone */
    const struct topic_hooks *hooks;   /* or NULL: this node is alone */
    int create_failed;            /* why the last create that did not take effect did not */
    bool opening, stopping;
    bool unread;                  /* the records that this leader began with and has yet to apply could not be read */
};

/* topic_log.c */
int changes_open(struct topics *ts);                         /* the log itself, and what its records say */
void changes_forget(struct topics *ts, uint64_t below);      /* those under way, or all: UINT64_MAX */

/* Are there records about this topic that this leader began with, and does not know to be committed? What they change
 * was perhaps acknowledged by the leader before, so that nothing may be taken by older settings, or into a topic that
 * is deleted. Others are not held up, for that may last as long as a member is away; but for the log itself. */
bool changes_pending(const struct topics *ts, const struct topic *t);

/* topics.c */
struct topic *topic_add(struct topics *ts, slice name, struct topic_id id, const struct topic_settings *settings);
struct journal_options journal_options_of(const struct topic *t);
int topic_open_journal(struct topics *ts, struct topic *t);
void topic_drop(struct topics *ts, struct topic *t);         /* and deletes its journal */

static inline slice topic_name(const struct topic *t)
{
    return slice_from(t->name);
}

#endif
