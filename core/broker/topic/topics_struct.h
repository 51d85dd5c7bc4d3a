/*
 * The inside of the set of topics, for the files of this room that make it up. Others see topics.h.
 */
#ifndef BROKER_TOPIC_TOPICS_STRUCT_H
#define BROKER_TOPIC_TOPICS_STRUCT_H

#include "base/intern.h"
#include "base/map.h"
#include "broker/topic/expiry.h"
#include "broker/topic/registry.h"
#include "broker/topic/topic_log.h"

struct topics {
    struct topic_shared shared;
    struct topic_sums sums;
    struct wall_clock clock;
    int64_t newest_ms;            /* the date of the newest message when this node started */
    struct store *store;          /* outlives us */
    struct registry all;          /* with an open journal, once `opening` is over */
    struct registry unopened;     /* they exist, and their directory could not be made */
    struct order by_id;           /* of both, but not _topics */
    struct topic_log log;
    struct intern_pool settings;  /* of topics, which mostly are alike */
    size_t most;                  /* limits.topics */
    struct expiry expiry;
    struct map deleted;           /* while opening: topics whose directory should be gone */
    size_t trim_at;               /* the next topic of which topics_trim looks at the retention */
    bool trim_some;               /* one before has retention */
    bool taking_more;             /* a snapshot is being taken, and this turn was too short */
    bool strays;                  /* directories without a record are set aside once all are known */
    bool opens_more;              /* topics may be opened yet that were there before this start */
    uint64_t leaders_end;         /* topics_note_leader */
    bool opening, stopping, held;
};

/* Makes the topic of a committed record, which the registry does not have. While opening, journals are opened once all
 * records are known. A topic whose directory cannot be made exists all the same, as on every other node: it is opened
 * later. */
void topics_add(struct topics *ts, struct topic *t);

/* Counts the topic among those of its `copies`, once it is there and until it takes no messages any more. */
void topics_count_copies(struct topics *ts, const struct topic *t, bool counts);

/* ---- one topic (topic_life.c) ---- */

/* A topic that is in no registry. */
struct topic *topic_new(struct topics *ts, slice name, struct topic_id id, const struct topic_settings *settings);
void topic_free(struct topic *t);

/* Makes these its settings. Its journal, marks and expiry are told by others (apply_set). */
void topic_set_settings(struct topic *t, const struct topic_settings *settings);

/* What they mean for its journal. */
struct journal_options topic_journal_options(const struct topic *t);

/* Opens the journal of a topic of the registry `all`, as its settings say. 0 or an error of journal_open. */
int topic_open_journal(struct topics *ts, struct topic *t);

/* Tries that again for a topic whose directory could not be made. 0; -ENOSPC or -ERR_STORAGE: it cannot be made now. */
int topic_open_late(struct topics *ts, struct topic *t);

/* Takes it out of the set, deletes its files and frees it. */
void topic_drop(struct topics *ts, struct topic *t);

/* ---- snapshots (topics_snapshot.c) ---- */

/* Notes a record of _topics that is read. True: it is one of a snapshot. */
bool snapshot_record(struct topics *ts, const struct message *m, uint64_t offset);

/* The leader appends a snapshot, if the log has grown enough since the last one and nothing is under way. */
void snapshot_append(struct topics *ts);

/* Goes on while the log is not whole: looks for a snapshot in what is written, then makes the topics that it keeps, in
 * steps. *more: it is not done. 0 or an error of topic_log_read. */
int snapshot_take(struct topics *ts, bool *more);

/* Removes directories of topics that have no record: those that were deleted, and where the beginning of the log was
 * removed, all; these go to diverged/, or are noted as strays while records may yet come. */
void topics_remove_leftovers(struct topics *ts);

/* A topic by its name, also one whose directory could not be made; or NULL. */
struct topic *topics_find_any(struct topics *ts, slice name);

#endif
