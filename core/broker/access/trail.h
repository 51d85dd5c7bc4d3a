/*
 * The audit: who did what to topics, groups, tokens and settings, as JSON in the internal topic _audit. Retention keeps
 * the last AUDIT_SIZE_MAX bytes of it.
 *
 * Only the node that leads can append, so any other writes its entries to its log instead; so does a leader that
 * cannot store one, because its disk is full for example. What was done is done all the same.
 */
#ifndef BROKER_ACCESS_TRAIL_H
#define BROKER_ACCESS_TRAIL_H

#include "base/buf.h"
#include "broker/topic/topics.h"

#define AUDIT_LOG_NAME "_audit"

struct trail;

struct trail *trail_new(struct topics *ts);
void trail_free(struct trail *a);

/* Adds an entry, one JSON object. It is stored at the next trail_turn; nobody waits for that. */
void trail_note(struct trail *a, slice entry);

/* Once in each turn, after tasks have run: appends what was noted. */
void trail_turn(struct trail *a);

/* Entries that are in the log of a leader only, since the start. */
uint64_t trail_failed(const struct trail *a);

#endif
