/*
 * A topic: its settings, its journal and its marks.
 *
 * The hot path is topic_append, then waiting on topic_ack_mark. A topic is found by name in broker/topics.h and lives
 * until it is deleted; what may outlive it keeps a topic_ref and asks topic_deref.
 */
#ifndef BROKER_TOPIC_H
#define BROKER_TOPIC_H

#include "broker/mark.h"
#include "store/journal.h"

enum replication { REPLICATION_WAL, REPLICATION_LIVE };

/* How a topic was created; records of _topics carry exactly these (broker/settings.h). */
struct topic_settings {
    enum replication replication;
    uint32_t copies;
    enum durability durability;
    struct retain retain;
    uint64_t segment_messages, segment_bytes;
    int64_t segment_age_ms;
};

struct topics;

struct topic {
    char name[TOPIC_NAME_MAX + 1];
    struct topics *topics;           /* outlives us */
    struct topic_id id;
    struct topic_settings settings;
    struct journal *journal;         /* owned */
    struct mark tail, written, disk, peers;
    uint64_t readable;               /* where topic_readable was last: it never goes back, also when settings change */
    uint64_t ship;                   /* how far followers may be sent (cluster) */
    bool deleting;                   /* its delete record is appended, not yet committed */
    unsigned index, generation;      /* for topic_ref */
    struct {
        uint64_t appended_messages, appended_bytes, read_messages, read_bytes;
    } count;
};

/* Appends one batch: moves tail, nothing else yet. 0 and the first offset; -ENOSPC, -ERR_TOO_LARGE, -ERR_STOPPING,
 * -ERR_NO_COPIES: nothing was appended then. `a->epoch` is filled in here. */
int topic_append(struct topic *t, struct append *a, uint64_t *first);

/* The mark at which the topic acknowledges: disk or written by its durability, peers in live mode. */
struct mark *topic_ack_mark(struct topic *t);

/* Readers see offsets below this. */
uint64_t topic_readable(struct topic *t);

/* The journal's marks have risen. */
void topic_moved(struct topic *t, uint64_t written, uint64_t disk);

uint64_t topic_first(const struct topic *t);

/* journal_read, up to what is readable, counted. */
int topic_read(struct topic *t, uint64_t from, uint64_t to, size_t bytes_max, struct buf *out, uint64_t *next);

/* Is this name fit for a client's topic (doc/http.md, "Strictness")? */
bool topic_name_ok(slice name);

#endif
