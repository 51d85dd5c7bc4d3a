/*
 * All topics of this node, and the log of them.
 *
 * What topics there are is itself a topic: `_topics`. A record's key is a topic's name, its payload the word create,
 * set or delete, its headers the settings. A change takes effect when its record has reached the acknowledging mark of
 * _topics, in order, on every node alike; the create record's epoch and offset are the topic's id.
 */
#ifndef BROKER_TOPIC_TOPICS_H
#define BROKER_TOPIC_TOPICS_H

#include "broker/election/role.h"
#include "broker/topic/registry.h"
#include "broker/topic/settings.h"
#include "store/log/store.h"

/* Reads _topics and opens every topic's journal. Waits for the disk. Directories without a record are left alone and
 * said. 0 or an error, then with a sentence in `why`. */
int topics_open(struct store *s, struct role *role, struct topics **out, struct buf *why);

/* The journals stay open for store_close, which has still to write what they hold. */
void topics_close(struct topics *ts);

/* Pass as store_options.moved. */
void topics_moved(void *owner, uint64_t written, uint64_t disk);

struct topic *topics_find(struct topics *ts, slice name);
struct topic *topic_deref(struct topics *ts, struct topic_ref ref);   /* NULL once deleted */
size_t topics_count(const struct topics *ts);
struct topic *topics_at(struct topics *ts, size_t i);                 /* the i-th in the order of names */
struct topic *topics_log(struct topics *ts);

/* Changes append a record and return the offset after it: the change has happened when topic_ack_mark(topics_log(ts))
 * is there and topics_apply has run. 0, or an error and a change that will never happen. */
int topics_create(struct topics *ts, slice name, const struct topic_settings *settings, uint64_t *want);
int topics_set(struct topics *ts, struct topic *t, const struct topic_settings *settings, uint64_t *want);
int topics_delete(struct topics *ts, struct topic *t, uint64_t *want);

/* Why a create has been committed, and there is no such topic: -ENOSPC for its directory, or -ERR_INTERNAL, which the
 * log explains. */
int topics_create_failed(const struct topics *ts);

/* Between marks rising and tasks running: changes that are committed take effect. May wait for the disk as far as
 * making or removing a directory does. True when there was one. */
bool topics_apply(struct topics *ts);

/* Applies retention where a topic has one, called from a timer. False when none has. */
bool topics_trim(struct topics *ts);

/* 0 when a client's or our own append may go to this topic now; else why not. */
int topics_may_append(const struct topic *t);
struct role *topics_role(const struct topics *ts);

/* What replication is told of, and asked for (broker/cluster/cluster.c). */
struct topic_hooks {
    uint64_t (*peers)(void *arg, struct topic *t);     /* while leading: what every member that counts has of it */
    void (*moved)(void *arg, struct topic *t);         /* marks have been settled */
    void (*opened)(void *arg, struct topic *t);
    void (*dropped)(void *arg, struct topic *t);       /* it is about to be freed */
    void *arg;
};
void topics_set_hooks(struct topics *ts, const struct topic_hooks *hooks);   /* outlives us */
const struct topic_hooks *topics_hooks(const struct topics *ts);

/* Everything's marks follow anew from what is known: the role or the synced set has changed. */
void topics_settle(struct topics *ts);

/* Leading has begun, and who counts is known: what the log says beyond what has taken effect is under way. Reads it. */
void topics_begin(struct topics *ts);

/* Leading is over: whoever waits for an acknowledgement gets this error, and changes under way may never come. */
void topics_fail(struct topics *ts, int rc);

/* Has the log been cut below what had taken effect? */
bool topics_undone(const struct topics *ts);

/* What a role may go by (broker/election/role.h). */
struct holdings topics_holdings(const struct topics *ts);

/* From now on appends are refused with -ERR_STOPPING. */
void topics_stop(struct topics *ts);

#endif
