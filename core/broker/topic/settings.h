/*
 * Topic settings as pairs of text: "replication" "live", "retain.age" "86400000". They are the headers of the records
 * in _topics, the fields of the HTTP interface and the keys of lignum.lua, by one table (settings.c).
 *
 *   replication        wal | live
 *   copies             1 and up
 *   durability         commit | interval | os
 *   retain.age         milliseconds, 0 = for ever        retain.bytes, retain.messages   0 = no bound
 *   segment.messages, segment.bytes, segment.age (milliseconds, 0 = never)
 */
#ifndef BROKER_TOPIC_SETTINGS_H
#define BROKER_TOPIC_SETTINGS_H

#include "broker/topic/topic.h"

extern const struct topic_settings settings_default;

/* 0; -ERR_BAD_VALUE for an unknown name or an impossible value, with a sentence in `why`. */
int settings_set(struct topic_settings *s, slice name, slice value, struct buf *why);

/* Visits all pairs in a fixed order; `text` is valid during the call. */
void settings_each(const struct topic_settings *s, void (*visit)(void *arg, const char *name, slice text), void *arg);

bool settings_equal(const struct topic_settings *a, const struct topic_settings *b);

#endif
