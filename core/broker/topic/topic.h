/*
 * A topic: its settings, its journal and its marks.
 *
 * To publish: topics_append (broker/topic/topics.h), then a wait on topic_ack_mark. struct topics finds topics by name
 * and owns them; code that may outlive a topic keeps a topic_ref and resolves it with topic_deref.
 *
 *   open       from topics_open, or from the commit of its create record (topics_apply)
 *   deleting   topics_delete has appended its delete record, and appends are refused. It is open again if this node
 *              stops leading before the commit (topics_fail): the next leader may not have the record
 *   gone       the delete record is committed, and the topic is the source of others (broker/topic/birth.h): appends
 *              are refused, and it can be read
 *   freed      by topics_apply when the delete record is committed, or that of the last topic that it is the source of
 *
 * disk <= written <= tail holds at all times. Only topic_settle derives the other two marks, by the node's role:
 *
 *            alone             leader                              follower
 *   peers    own mark          what every counted member has       what the leader stated, as far as it is on this disk
 *   readable ack mark          ack mark                            what the leader stated, as far as it is on this disk
 *
 * A node's own mark is `disk`, or `written` under the weaker durabilities. `peers` and `readable` never fall, also when
 * settings change; only topic_truncate and topic_restart lower marks.
 */
#ifndef BROKER_TOPIC_TOPIC_H
#define BROKER_TOPIC_TOPIC_H

#include "base/wall_clock.h"
#include "broker/election/role.h"
#include "broker/topic/mark.h"
#include "broker/topic/settings.h"

struct topic;
struct topics;

/* Set by the cluster (broker/cluster/cluster.c): what replication knows of topics, and is told of them. */
struct topic_hooks {
    uint64_t (*peers)(void *arg, struct topic *t);     /* while leading: what every member that counts has of it */
    void (*moved)(void *arg, struct topic *t);         /* marks have been settled */
    void (*opened)(void *arg, struct topic *t);
    void (*dropped)(void *arg, struct topic *t);       /* it is about to be freed */
    void *arg;
};

/* What all topics have together, kept as they change: with a million of them, nothing that happens often may visit all.
 * Owned by struct topics. */
struct topic_sums {
    uint64_t appended_messages, appended_bytes;   /* here since the start, also of topics that were deleted since */
    uint64_t read_messages, read_bytes;
    uint64_t messages;                   /* of the disk marks */
    uint64_t epoch;                      /* the highest of any batch */
    bool cut;                            /* a log was cut since `epoch` was found, and may have held that batch */
    unsigned live[COPIES_MAX + 1];       /* live topics of clients that take messages, by `copies` */
};

/* What all topics of a node share; struct topics owns it. */
struct topic_shared {
    struct role *role;                   /* outlives us */
    const struct topic_hooks *hooks;     /* outlives us; NULL: this node is alone */
    struct wall_clock *clock;            /* dates messages; outlives us */
    struct topic_sums *sums;             /* outlives us */
};

/* A topic on the node that leads. Owned by broker/leader; topic_append notes here when a file is sealed. */
struct topic_lead {
    struct topic *topic;             /* outlives us */
    struct list feeds;               /* one for each follower that has asked for it */
    uint64_t begun, begun_ns;        /* the tail when this epoch began here, or the topic in it, and when that was */
    uint64_t ship;                   /* how far Lua lets a `wal` topic be sent to followers */
    uint64_t sealed;                 /* where its last full file ended */
    bool has_new_seal;               /* a file was sealed since Lua last looked */
    struct list unshipped;           /* in leader.unshipped while Lua may have something to ship */
};

/*
 * A topic on a node that follows. Owned by broker/follower, which says how it moves between these states; topic_settle
 * reads what the leader stated.
 *
 *   unplaced   in follower.unplaced
 *   asked      POSITION is sent; `placing` is in no list
 *   held       `held`; in follower.held: it cannot be asked for yet, or was without success
 *   placed     `placed`; the leader sends it. In follower.unacked while there is something to acknowledge
 */
struct topic_follow {
    struct topic *topic;             /* outlives us */
    bool told;                       /* a leader has stated its marks since this node started */
    uint64_t told_readable, told_peers;   /* the leader's marks, as it stated them */
    uint64_t unsettled;              /* the tail at START, until the leader says that all below is committed; then 0 */
    struct list placing;             /* in one of the follower's lists, or in none */
    uint32_t slot;                   /* on the connection to the leader; 0: none yet */
    bool known;                      /* the leader has it, and knows the slot */
    bool placed, held;
    uint64_t leader_first;           /* the first offset of the leader's, when this one was placed */
    bool no_room;                    /* the log says that there is no room for what is to be cut */
    struct buf senders;              /* owned; what has come of SENDERS */
    bool refetch;                    /* what is here from refetch_from on has to be replicated again (refetch.c) */
    uint64_t refetch_from;
    uint64_t acked_written, acked_disk;   /* what the leader has been told of these marks */
};

/* Of retain.groups, while the topic is in groups.held. Owned by broker/group. */
struct topic_groups {
    uint64_t least;                  /* while it is computed */
    uint64_t noted;                  /* all groups had passed what is below, when this was last looked at */
    uint64_t passed;                 /* and that is committed: retention may remove what is below */
};

/* Of `expire`, while the topic is in expiry.heap. Owned by broker/topic/expiry.h. */
struct topic_use {
    uint64_t begun_ns;               /* since when uses are noted, as clock_ns */
    uint64_t at_ns;                  /* the last use that this node knows of, as clock_ns; 0: none */
    uint64_t look_ns;                /* when it is looked at next */
    uint32_t place;                  /* in expiry.heap */
    bool kept;                       /* the log says that a group keeps it */
};

/* A node may have a million idle topics, so what only some need is allocated for these. */
struct topic {
    struct topics *topics;           /* outlives us */
    const struct topic_shared *shared;   /* outlives us */
    struct topic_id id;
    const struct topic_settings *settings;   /* interned: others may have the same; never NULL */
    struct journal *journal;         /* owned */
    struct mark tail, written, disk, peers;
    struct mark readable;            /* readers see offsets below it */
    unsigned cuts;                   /* how often marks were lowered: the log was cut, or begun again */
    unsigned dependents;             /* topics that have it as their source */
    unsigned index, generation;      /* for topic_ref */
    struct kept_birth *birth;        /* owned (broker/topic/birth.h); NULL: it has neither labels nor a source */
    struct {
        uint64_t appended_messages, appended_bytes, read_messages, read_bytes;
        uint64_t duplicates, gaps;   /* of producers */
    } count;
    struct topic_lead *lead;         /* owned; NULL: this node is alone */
    struct topic_follow *follow;     /* owned; NULL: this node is alone */
    struct topic_groups *groups;     /* owned; NULL: no group holds anything back */
    struct topic_use *use;           /* owned; NULL: it does not expire */
    bool deleting, gone;
    char name[];                     /* and a NUL; it begins right there: less than the size of the struct */
};

/* Appends one batch, for topics_append, which checks first whether it may: moves tail, nothing else yet. 0 and the
 * first offset; -ENOSPC, -ERR_TOO_LARGE: nothing was appended. Epoch and stated mark of `a` are filled in
 * here, and its date unless it has one. */
int topic_append(struct topic *t, struct append *a, uint64_t *first);

/* The mark at which the topic acknowledges: its own, peers in live mode. */
struct mark *topic_ack_mark(struct topic *t);

/* `disk`, or `written` under the weaker durabilities. */
struct mark *topic_own_mark(struct topic *t);

/* Readers see offsets below this. */
uint64_t topic_readable(struct topic *t);

/* How far followers may be sent now. */
uint64_t topic_shippable(struct topic *t);

/* A `wal` topic may be sent to followers up to here. Without effect on a node that is alone. */
void topic_ship(struct topic *t, uint64_t offset);

/* How far that is; the tail on a node that is alone. */
uint64_t topic_shipped(const struct topic *t);

/* The journal is open: marks begin at what it holds. */
void topic_begin_marks(struct topic *t);

/* The journal has received the leader's messages up to `next`. */
void topic_received(struct topic *t, uint64_t next);

/* So many messages of it were read. */
void topic_count_read(struct topic *t, uint64_t messages, uint64_t bytes);

/* For store_options.moved: the marks of a topic's journal have risen. */
void topic_moved(void *topic, uint64_t written, uint64_t disk);

/* Call when something has changed from which peers or readable follow. */
void topic_settle(struct topic *t);

/* Ends all waits for acknowledgements with this error; readers go on waiting. */
void topic_fail(struct topic *t, int rc);

/* Removes messages from `to` on, which the leader does not have: they are copied to diverged/ first. Waits for the
 * disk. 0 or an error of journal_truncate; after -ERR_BUSY the caller tries again later. */
int topic_truncate(struct topic *t, uint64_t to);

/* Empties the topic and continues at `first`, the oldest offset that the leader has; `keep`: what was here goes to
 * diverged/. `peers` does not rise by that: of a `wal` topic, retention may have removed messages that not every member
 * had. Waits for the disk. 0 or an error of journal_restart. */
int topic_restart(struct topic *t, uint64_t first, bool keep);

uint64_t topic_first(const struct topic *t);
uint64_t topic_last_epoch(const struct topic *t);    /* of the last batch, acknowledged or not; 0: there is none */

/* journal_read, up to what is readable, counted. */
int topic_read(struct topic *t, uint64_t from, uint64_t to, size_t bytes_max, struct buf *out, uint64_t *next);

/* A token has this epoch when the message before its offset could not be read. No message has it. */
enum { EPOCH_UNKNOWN = 0 };

/* Where a reader stands: it has read up to `offset`, at last a message of `epoch`, of the topic whose create record is
 * at `topic` in _topics. A topic that is deleted and created again is another one. */
struct topic_token {
    uint64_t epoch, offset;
    bool names_topic;                /* tokens in two parts do not */
    uint64_t topic;
    bool reached;                    /* does the topic here have all of it? Else more may still come */
};

/* Does a token belong to this history? It does when it is of this topic, and the message before its offset is of its
 * epoch here. A leader that holds its lease has seen every epoch up to its own. Any other node may lack what the token
 * speaks of: an epoch later than all it has, or more of its last one; then the token belongs, unless all of it is to
 * be `reached`. A token of EPOCH_UNKNOWN belongs to any history. 0; -ERR_TRUNCATED: what the reader has from *end on,
 * or of epochs after *found, is not in this history; -ERR_UNAVAILABLE: what is here beyond that offset is older than
 * the token, and this node cannot tell which of the two is the cluster's; or it has not reached it; -ERR_DAMAGED;
 * -errno. */
int topic_check(struct topic *t, const struct topic_token *token, uint64_t *found, uint64_t *end);

/* Is this offset above all that there is of the topic in the cluster, messages under way included? Only a node that may
 * append knows; any other says no. */
bool topic_is_beyond(const struct topic *t, uint64_t offset);

/* Does the next append go where this token stands? Offset 0 has no message before it, and any epoch. */
bool topic_is_next(const struct topic *t, const struct topic_token *token);

/* Does this node hold messages from `offset` on of which it cannot tell whether they were acknowledged? It has heard no
 * leader since it started, and what it knew then of a live topic may lag behind. */
bool topic_is_unsure(const struct topic *t, uint64_t offset);

/* All groups have passed what is below: retention may remove it; 0: nothing is known of that. */
static inline uint64_t topic_passed(const struct topic *t)
{
    return t->groups != NULL ? t->groups->passed : 0;
}

/* Is this name fit for a client's topic (doc/http.md, "Strictness")? */
bool topic_name_ok(slice name);

/* The broker's own topics begin with _; clients cannot write to them. */
static inline bool topic_is_internal(const struct topic *t)
{
    return t->name[0] == '_';
}

#endif
