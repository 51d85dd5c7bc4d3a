/*
 * A topic: its settings, its journal and its marks.
 *
 * The hot path is topic_append, then waiting on topic_ack_mark. A topic is found by name in broker/topic/topics.h and
 * lives until it is deleted; what may outlive it keeps a topic_ref and asks topic_deref.
 *
 * How marks follow from each other is topic_settle's alone:
 *
 *            alone             leader                              follower
 *   peers    own mark          what every counted member has       what the leader said, as far as it is on this disk
 *   readable ack mark          ack mark                            what the leader said, as far as it is on this disk
 *
 * where a node's own mark is `disk`, or `written` under the weaker durabilities.
 */
#ifndef BROKER_TOPIC_TOPIC_H
#define BROKER_TOPIC_TOPIC_H

#include "broker/topic/mark.h"
#include "store/log/journal.h"

enum replication { REPLICATION_WAL, REPLICATION_LIVE };

/* How a topic was created; records of _topics carry exactly these (broker/topic/settings.h). */
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
    struct mark readable;            /* readers see offsets below; it never goes back, also when settings change */
    uint64_t ship;                   /* how far Lua lets a `wal` topic be sent to followers */
    bool deleting;                   /* its delete record is appended, not yet committed */
    unsigned index, generation;      /* for topic_ref */
    struct {
        uint64_t appended_messages, appended_bytes, read_messages, read_bytes;
    } count;

    /* While this node leads (broker/leader/leader.c) */
    struct list feeds;               /* one for each follower that has asked for it */
    uint64_t begun, begun_ns;        /* the tail when this epoch began here, or the topic in it, and when that was */
    uint64_t sealed;                 /* where its last full file ended */
    bool shipping_seal;              /* a file was sealed since Lua last looked */
    struct list unshipped;           /* in leader.unshipped while Lua may have something to ship */

    /* While it follows (broker/follower/follower.c) */
    uint64_t told_readable, told_peers;
    uint64_t unsettled;              /* the tail at START, until the leader says that all below is committed; then 0 */
    struct list placing;             /* in one of the follower's lists */
    uint32_t slot;                   /* on the connection to the leader; 0: none yet */
    bool known;                      /* the leader has it, and knows the slot */
    bool placed;                     /* the leader sends it */
    bool held;                       /* it could not be asked for, or without success: it is again later */
    bool refetch;                    /* what is here from refetch_from on has to be replicated again (refetch.c) */
    uint64_t refetch_from;
    uint64_t acked_written, acked_disk;   /* what the leader has been told of these marks */
};

/* Appends one batch: moves tail, nothing else yet. 0 and the first offset; -ENOSPC, -ERR_TOO_LARGE, -ERR_STOPPING,
 * -ERR_NO_COPIES, -ERR_NOT_LEADER, -ERR_UNCONFIRMED, -ERR_UNAVAILABLE: nothing was appended then. `a->epoch` and
 * `a->stated` are filled in here. */
int topic_append(struct topic *t, struct append *a, uint64_t *first);

/* The mark at which the topic acknowledges: its own, peers in live mode. */
struct mark *topic_ack_mark(struct topic *t);

/* `disk`, or `written` under the weaker durabilities. */
struct mark *topic_own_mark(struct topic *t);

/* Readers see offsets below this. */
uint64_t topic_readable(struct topic *t);

/* How far followers may be sent now. */
uint64_t topic_shippable(struct topic *t);

/* The journal's marks have risen. */
void topic_moved(struct topic *t, uint64_t written, uint64_t disk);

/* Something that peers or readable follow from has changed. */
void topic_settle(struct topic *t);

/* Whoever waits for an acknowledgement gets this error; readers go on waiting. */
void topic_fail(struct topic *t, int rc);

/* A follower's part of the log that the leader does not have: moved to diverged/ and cut. Waits for the disk. 0 or an
 * error of journal_truncate; after -ERR_BUSY it is to be tried again. */
int topic_cut(struct topic *t, uint64_t to);

/* Begins anew at an offset, as the leader has nothing older; `keep`: what was there goes to diverged/. `peers` does not
 * rise by that: what retention has removed of a `wal` topic need not have been everybody's. Waits for the disk. */
int topic_restart(struct topic *t, uint64_t first, bool keep);

uint64_t topic_first(const struct topic *t);

/* journal_read, up to what is readable, counted. */
int topic_read(struct topic *t, uint64_t from, uint64_t to, size_t bytes_max, struct buf *out, uint64_t *next);

/* What a token has for the epoch of a message that could not be read. No message has this epoch. */
enum { EPOCH_UNKNOWN = 0 };

/* Does a token belong to this history, of one who has read up to `offset`, at last a message of that epoch? It does
 * when the message before that offset is of that epoch here. A leader that is sure of itself has seen every epoch that
 * there was. Any other node may lack what the token speaks of: an epoch that is later than all it has, or more of its
 * last one. A token of EPOCH_UNKNOWN says nothing, and belongs to any.
 * 0; -ERR_TRUNCATED: what the reader has from *end on, or of epochs after *found, is not in this history;
 * -ERR_UNAVAILABLE: what is here beyond that offset is older than the token, and which of the two goes on is not known
 * here; -ERR_DAMAGED; -errno. */
int topic_check(struct topic *t, uint64_t epoch, uint64_t offset, uint64_t *found, uint64_t *end);

/* Is this name fit for a client's topic (doc/http.md, "Strictness")? */
bool topic_name_ok(slice name);

#endif
