/*
 * The inside of a store, for the rooms of the store. Other layers see store.h.
 */
#ifndef STORE_LOG_STORE_STRUCT_H
#define STORE_LOG_STORE_STRUCT_H

#include "base/intern.h"
#include "store/disk/disk.h"
#include "store/format/ends.h"
#include "store/format/scan.h"
#include "store/log/commit_wait.h"
#include "store/log/index_cache.h"
#include "store/log/store.h"

/* What waits for the next flush and the next group commit. */
struct commit_queue {
    struct list dirty;            /* journals with pending bytes */
    struct list unsynced;         /* journals that want a sync at once */
    struct list unsynced_later;   /* journals whose sync can wait for the interval */
    struct list held;             /* journals whose files lack bytes that the commit log has; the longest held first */
    struct list held_mark;        /* in `held`, behind those that the commit log's older file has; or alone */
    size_t held_count;            /* of them */
    size_t held_bytes;            /* of them in memory */
    bool many;                    /* the last group commit went by the commit log: the next one will, too */
    uint64_t later_due_ns;        /* when they must be synced; 0: there are none */
    struct commit_wait wait;      /* for more batches */
    bool urgent;                  /* everything is synced at once, whatever its durability */
    bool topics_dirty, small_dirty;            /* topics/ has a new entry, to be fsynced */
};

/* How the last run ended: what recovery may rely on. */
struct last_run {
    bool clean;                   /* by store_close */
    bool same_boot;               /* the kernel that it ran on still runs */
    bool state_lost;              /* there was no state: which epochs this node led is not known */
    bool io_failed;               /* by a failed write, in this boot: files are read past the page cache */
};

struct store {
    struct disk disk;
    struct index_cache indexes;
    struct store_options options;
    struct last_run last_run;
    struct list journals;
    struct intern_pool options_of_journals;   /* which mostly are alike (journal_share_options) */
    struct list leaving;          /* journals that are deleted once no job works on them any more */
    struct commit_queue queue;
    struct group_commit *commit;  /* owned; the one that runs, or ran last */
    struct commit_log *log;       /* owned; what many topics share */
    struct ends *ends;            /* owned; how small topics ended, while journals are opened; or NULL */
    bool has_ends;                /* the data directory has such a file */
    struct ends_writer *ending;   /* while the store closes: gathers that */
    struct list background;       /* work with steps to do; in no particular order */
    struct reader reader;         /* of scans on the loop thread: its buffer is used again and again */
    struct buf names;             /* what store_next_name found */
    struct store_stats stats;
    bool lost;                    /* store_is_lost */
    uint64_t refused_ns, refused_size;   /* when space was last refused, and how much; 0: there was room since */
};

/* A store without a directory; and its memory and descriptors, when its journals are gone. */
struct store *store_new(const struct store_options *o);
void store_free(struct store *s);

/* Writes and syncs everything, and waits until the disk thread has nothing to do: only while a store closes, and before
 * a topic is made whose namesake is still being deleted. */
void store_sync_all(struct store *s);

/* Files that are in use have no name any more. */
void store_note_lost(struct store *s);

/* Moves the directories of deleted journals away whose last job has ended. */
void store_finish_deletes(struct store *s);

/* Whether topics/NAME still has the files of a journal that is being deleted. */
bool store_is_leaving(const struct store *s, slice name);

#endif
