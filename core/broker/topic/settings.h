/*
 * The settings of a topic, and their form as pairs of text: "replication" "live", "retain.age" "86400000". The pairs
 * are the headers of records in _topics, the fields of the HTTP interface and the keys of lignum.lua; the table in
 * settings.c defines all of them.
 *
 *   replication        wal | live
 *   copies             1 and up; 1 where replication is wal
 *   durability         commit | interval | os
 *   retain.age         milliseconds; retain.bytes and retain.messages: 0 = no bound, as for the age
 *   retain.groups      false | true: whether what all groups have passed may go
 *   expire             milliseconds without a use after which the topic is deleted; 0 = never
 *   segment.messages, segment.bytes, segment.age (milliseconds, 0 = never)
 *   dedupe.age         milliseconds for which an idempotency key is remembered; dedupe.keys: and how many of them
 */
#ifndef BROKER_TOPIC_SETTINGS_H
#define BROKER_TOPIC_SETTINGS_H

#include "store/log/journal.h"

enum replication { REPLICATION_WAL, REPLICATION_LIVE };

struct topic_settings {
    enum replication replication;
    uint32_t copies;
    enum durability durability;
    struct retain retain;            /* but `passed` */
    uint64_t retain_groups;
    uint64_t expire_ms;
    uint64_t segment_messages, segment_bytes;
    int64_t segment_age_ms;
    int64_t dedupe_age_ms;
    uint64_t dedupe_keys;
};

/* Part of the format: a create record leaves out settings that have these values (doc/format.md). */
extern const struct topic_settings settings_default;

/* 0; -ERR_BAD_VALUE for an unknown name or an impossible value, with a sentence in `why`. */
int settings_set(struct topic_settings *s, slice name, slice value, struct buf *why);

/* Visits the pairs that differ from those of `known`, or all if that is NULL, in a fixed order; `text` is valid during
 * the call. */
typedef void settings_visit(void *arg, const char *name, slice text);
void settings_each(const struct topic_settings *s, const struct topic_settings *known, settings_visit *visit,
                   void *arg);

/* 0; -ERR_BAD_VALUE with a sentence in `why` when the settings contradict each other: `copies` counts for live topics
 * only. */
int settings_check(const struct topic_settings *s, struct buf *why);

bool settings_equal(const struct topic_settings *a, const struct topic_settings *b);

#endif
