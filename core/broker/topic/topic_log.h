/*
 * The log of topics, _topics: creating, setting and deleting topics are records in it. A record's key is a topic's
 * name, its payload the word create, set or delete, its headers the settings, and of a create record also what the
 * topic is born with (broker/topic/birth.h). Its epoch and offset are the id of the topic that a create record makes.
 *
 * A snapshot is a run of records: begin, a keep for each topic, end. It stands for all records before it, so that their
 * files may be removed (broker/topic/topics_snapshot.c).
 *
 * This reads and writes the records, and lists the changes that are appended and have not taken effect yet. What a
 * record does when it is committed is up to struct topics (topics.c).
 *
 * A change is appended (topic_log_append, or topic_log_begin: by the leader before), then applied
 * (topic_log_forget_below follows topics_apply). It is forgotten unapplied when leading ends: the next leader may not
 * have its record.
 */
#ifndef BROKER_TOPIC_TOPIC_LOG_H
#define BROKER_TOPIC_TOPIC_LOG_H

#include "base/map.h"
#include "broker/topic/birth.h"

#define TOPIC_LOG_NAME "_topics"

/*
 * How this node comes to know which topics there are.
 *
 *   whole      records take effect one by one, from `applied` on. So a log begins whose files begin at 0
 *   lacking    the files begin above `applied`: no topic is known, and no record counts until a snapshot is found. So a
 *              log begins, or begins again as a follower, whose beginning was removed. Such a node does not lead
 *   taking     a whole snapshot was found: its keeps make the topics, in steps. Then the log is whole
 */
enum topic_log_state { TOPIC_LOG_WHOLE, TOPIC_LOG_LACKING, TOPIC_LOG_TAKING };

struct topic_log_snapshot {
    uint64_t began;               /* 1 + the offset of the last begin record; 0: none, or its end was read, too */
    uint64_t at, till;            /* lacking: records below `at` were looked at; taking: records that are left */
    uint64_t size, since;         /* bytes of the last one, and of the records after it */
    uint64_t reading;             /* bytes of the one that is being read */
    uint64_t first;               /* where the last one begins, once its end has taken effect; 0: none is known */
    uint64_t again;               /* one could not be appended: the `since` at which it is tried again */
    unsigned cuts;                /* lacking, taking: topic.cuts then */
};

struct topic_log {
    struct topic *topic;          /* the struct topics owns it */
    struct mark applied;          /* records below this have taken effect; a task that asked for one waits here */
    enum topic_log_state state;
    struct topic_log_snapshot snapshot;
    struct list changes;          /* in the order of their records */
    struct map latest;            /* of them by name: the last one of each */
    size_t creations;             /* among them */
    bool unread;                  /* the records with which this epoch began could not all be read */
};

enum change_kind { CHANGE_CREATE, CHANGE_SET, CHANGE_DELETE };

/* A change whose record is appended and not yet applied. */
struct change {
    struct list link;
    char name[TOPIC_NAME_MAX + 1];
    enum change_kind kind;
    struct topic_settings settings;   /* all of them, but of a delete */
    uint64_t want;                /* the offset after its record */
};

/* May a record be of this name? Those of clients, and internal ones. */
bool topic_log_takes(slice name);

/* Calls fn for records below `to` from *from on, in a piece of about so many bytes; *from is then the offset after the
 * last that was read. 0; -ERR_DAMAGED; -errno. */
typedef void topic_log_fn(void *arg, const struct message *m, struct topic_id id);
int topic_log_read(const struct topic_log *log, uint64_t *from, uint64_t to, size_t bytes, topic_log_fn *fn, void *arg);

/* The same for all of them. */
int topic_log_read_all(const struct topic_log *log, uint64_t *from, uint64_t to, topic_log_fn *fn, void *arg);

/* The settings in a record's headers, on top of what *s holds. An unknown one is logged and ignored. */
void topic_log_settings(const struct message *m, struct topic_settings *s);

struct topic_record {
    slice name;
    const char *what;                        /* create, set or delete */
    const struct topic_settings *settings;   /* NULL: of a delete */
    const struct topic_birth *birth;         /* of a create; NULL of others */
};

/* Appends a record. 0 and the offset after it, or an error of topic_append. */
int topic_log_append(struct topic_log *log, const struct topic_record *r, uint64_t *want);

/* Appends the message that keeps a topic, as part of a snapshot. */
void topic_log_keep(struct buf *messages, const struct topic *t);

/* Reads what only a keep record has: the topic's id, how many topics have it as their source, and whether it is deleted
 * and only kept for those. False: it is not well formed. */
bool topic_log_kept(const struct message *m, struct topic_id *id, unsigned *dependents, bool *gone);

/* Adds a change to those under way; settings NULL: of a delete. */
void topic_log_remember(struct topic_log *log, slice name, enum change_kind kind, const struct topic_settings *settings,
                        uint64_t want);

/* The last change of that name that is under way, or NULL. */
const struct change *topic_log_find(const struct topic_log *log, slice name);

/* Forgets changes whose records are below this offset; UINT64_MAX: all. */
void topic_log_forget_below(struct topic_log *log, uint64_t offset);

/* Leading has begun: changes under way are those with records that have not taken effect. Reads them. */
void topic_log_begin(struct topic_log *log);

/* Does this leader hold records about a topic from before its epoch that it does not know to be committed? The leader
 * before may have acknowledged what they change, so messages are neither taken by the older settings, nor into a topic
 * that is deleted. Other topics do not wait, since it may last as long as a member is away. Nor does the log itself: a
 * change takes those under way into account, and may be the one that makes their commit possible. */
bool topic_log_pending(const struct topic_log *log, const struct topic *t);

#endif
