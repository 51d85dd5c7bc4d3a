/*
 * The inside of groups, for the files of this room.
 */
#ifndef BROKER_GROUP_GROUPS_STRUCT_H
#define BROKER_GROUP_GROUPS_STRUCT_H

#include "base/map.h"
#include "broker/group/groups.h"

struct groups {
    struct topics *topics;           /* outlives us */
    struct topic_found log;          /* _groups */
    struct map by_key;
    uint64_t applied;                /* records of _groups below this have been applied */
    unsigned cuts;                   /* of _groups, as it was then */
    struct topic_id log_id;          /* and which topic it was */
    uint64_t led_epoch;              /* the epoch in which the whole log was applied; 0: this node does not lead */
    int64_t date_ms;                 /* while it leads: the time of deadlines when the date was last looked at, */
    uint64_t date_ns;                /* and when that was */
    uint64_t noted_at;               /* `applied`, when topic_groups.noted was; 0: nothing was noted since */
    struct topic_ref *held;          /* owned; topics with retain.groups that had groups when this was noted */
    size_t held_count, held_cap;
    size_t cached;                   /* bytes that readers of groups hold */
    struct mark deaths, retries;
    bool decides_retries;
    int64_t due_ms;                  /* the earliest of all groups, or before it */
    uint64_t random[32];             /* for the numbers of claims: so many are fetched from the kernel at once */
    unsigned random_left;
};

enum { GROUP_KEY_MAX = 2 * 20 + 2 + TOPIC_NAME_MAX };

/* The key of a group's records, written to `text`. */
slice group_key_of(char text[GROUP_KEY_MAX], const struct topic_id *id, slice name);

/* The group's topic; NULL: it is not here (yet), or deleted, also where others still read it. */
struct topic *group_topic(struct groups *gs, const struct held_group *g);

/* The headers of create, set and snapshot records. */
void group_headers_write(struct buf *out, slice topic_name, const struct group_settings *s);

/* Appends records as one batch, which the caller applies. 0 and the first offset; -ERR_UNAVAILABLE; an error of
 * topics_append. */
int append_messages(struct groups *gs, slice messages, uint32_t count, uint64_t *first);

/* Appends one and applies it. 0 and the offset after it. */
int append_record(struct groups *gs, const struct message *m, uint64_t *want);

/* The same for a record of a group with this payload. */
int record_append(struct groups *gs, struct held_group *g, slice headers, slice payload, uint64_t *want);

/* The same for several payloads, as one batch. */
int records_append(struct groups *gs, struct held_group *g, const slice *payloads, uint32_t count);

/* Applies one record of _groups at that offset, also create and delete. */
void record_take(struct groups *gs, const struct message *m, uint64_t offset);

/* Says that a group is blocked; again only after half of what was out is settled. */
void blocked_say(struct held_group *g, struct topic *t);

/* The run kills its message, with a letter where the group has a topic for them. */
void run_die(const struct group *g, struct settle_run *run, enum dying_why why);

/* Notes the runs of which a policy is to decide. */
void retries_note(struct groups *gs, struct held_group *g, const struct buf *runs);

/* Adds a run to a list of them, to the last one where it goes on from that. */
void run_add(struct buf *runs, const struct settle_run *r);

/* Up to where the group's histories and the topic's agree. 0 or an error of journal_epoch_end. */
int find_agreed(const struct group *g, struct topic *t, uint64_t *agreed);

/* Notes in each topic with retain.groups how far all of its groups are. */
void passed_note(struct groups *gs);

/* The group may have something to do at this time. */
void group_due(struct groups *gs, struct held_group *g, int64_t at_ms);

/* Ends what is over now, and notes what is over next. 0 or an error of topics_append. */
int group_tick(struct groups *gs, struct held_group *g);

struct held_group *held_group_new(struct groups *gs, slice key, slice topic_name);
void held_group_free(struct groups *gs, struct held_group *g);

#endif
