/*
 * The inside of a journal, for the rooms of the store. Other layers see journal.h.
 */
#ifndef STORE_LOG_JOURNAL_STRUCT_H
#define STORE_LOG_JOURNAL_STRUCT_H

#include "store/format/checkpoint.h"
#include "store/log/background.h"
#include "store/log/damage.h"
#include "store/log/journal.h"
#include "store/log/parts.h"
#include "store/log/preallocate.h"

/*
 * How far a journal has got. The first offset, that of the first part, <= disk <= written <= tail, and stated <= tail.
 * Nothing here falls, except when the journal is truncated.
 *
 *   tail      rises by journal_append and journal_receive: the batch is in memory.
 *   written   by journal_write: the file holds it; or by the end of a group commit: the commit log does.
 *   disk      by the end of a group commit: it is synced.
 *   stated    the highest mark of the synced set that a batch or the leader has stated.
 */
struct marks {
    uint64_t tail, written, disk;
    uint64_t stated;
    uint64_t epoch;               /* of the last batch; 0: there is none */
    int64_t time_ms;              /* of the last batch */
    uint64_t timed_ns;            /* when it was added, or the journal opened */
};

/*
 * What group commit has to do for a journal.
 *
 *   clean       in none of the lists.
 *   dirty       `pending` holds bytes that store_flush has not seen. Set by an append.
 *   unsynced    written or left to the commit log, but in no group commit yet: in store.queue.unsynced, or in
 *               unsynced_later. Set by journal_want_sync, after a flush.
 *   committing  a group commit covers what was written when it began. The journal may be dirty or unsynced again.
 *
 * Besides, it may be held (write.h): the beginning of `pending` is in the commit log, and not in the file.
 */
struct journal_sync {
    struct list dirty;            /* in store.queue.dirty, or alone */
    struct list unsynced;         /* in store.queue.unsynced or .unsynced_later, or alone */
    struct list held;             /* in store.queue.held, or alone */
    struct list sealing;          /* segments that ended since the last group commit */
    size_t held_bytes;            /* of `pending`, as they are counted in the store's */
    bool dir_dirty;               /* a file was made: the directory must be fsynced before `disk` rises */
    bool committing;
    bool deferred;                /* journal_defer_sync */
    uint64_t logged;              /* the last use of the commit log that has a frame of it; 0: none (commit_log.h) */
    uint64_t settle_to;           /* what is below is synced at once, whatever the durability (journal_settle) */
};

/* The last checkpoint, which recovery would begin from. */
struct checkpointing {
    uint64_t sequence;
    uint64_t position;            /* in the active file */
    bool clean;                   /* it says that everything written is synced, and nothing was written since */
    struct checkpoint *last;      /* owned; what it says; NULL: there is none */
};

/* What the log says of its senders (origins.h), while that is in memory. */
struct journal_origins {
    struct senders *senders;      /* owned */
    bool has_snapshot;
    uint64_t snapshot;            /* the offset of the newest one */
    uint64_t logged;              /* bytes of the files that were sealed since, but of the first one only from there */
    uint64_t position;            /* of the snapshot in the active file; 0: it is not in that */
};

struct journal {
    struct store *store;          /* outlives us */
    struct list all;              /* in store.journals */
    void *owner;                  /* is told of its movements; or NULL */
    const struct journal_options *options;   /* shared with others, without the id, which is in parts.dir */
    struct marks marks;
    struct parts parts;
    struct buf pending;           /* the end of the active file, not yet written: the bytes from active->written on */
    struct journal_sync sync;
    struct checkpointing checkpoint;
    struct damage damage;         /* that is known */
    uint64_t oldest;              /* below the first part: files are missing from here up to that (journal_lacks) */
    struct journal_origins *origins;   /* owned; NULL: unread */
    struct list background;       /* work that reads its files over many turns */
    enum preallocation next_file;
    bool repairing;               /* there is a struct repair */
    bool shortening;              /* the active file still ends with what was truncated (truncate_shorten.h) */
    char name[];                  /* and a NUL */
};

/* A journal without files, in the store's list. */
struct journal *journal_new(struct store *s, slice name, const struct journal_options *o);
void journal_free(struct journal *j);

/* Gives a small topic a directory of its own (topic_dir.h): before anything but its file is made of it. The next group
 * commit of the journal fsyncs the directories. 0 or -errno, with nothing changed. */
int journal_own_dir(struct journal *j);

/* Makes these the journal's options. */
bool journal_options_equal(const void *options, const void *other);   /* but for the id */
void journal_share_options(struct journal *j, const struct journal_options *o);

/* The last checkpoint says this; NULL: there is none. */
void checkpointing_note(struct checkpointing *c, const struct checkpoint *last);

uint64_t journal_first(const struct journal *j);

/* Opens a part's file; what is damaged in it is recorded. *out is good until the next file is opened. 0 or an error of
 * segment_load. */
int part_segment(struct journal *j, struct part *part, struct segment **out);

/* The segment of the batch that holds this offset. Where no file does, a hole between two, that is recorded. 0;
 * -ERR_GONE below the first offset; -ERR_DAMAGED; or as part_segment. */
int journal_segment_of(struct journal *j, uint64_t offset, struct segment **out);

/* The offset where the next file begins, or the tail. */
uint64_t part_end(const struct journal *j, const struct part *part);

/* Scans a file where something seems wrong, and records what is. Looking there again is worth it afterwards, because
 * the scan makes the index again. 1; 0: it was scanned before; -errno. */
int journal_scan(struct journal *j, struct segment *seg);

/* segment_find, again after a scan where that helps. 0; -ERR_DAMAGED; -errno. */
int journal_find(struct journal *j, struct segment *seg, uint64_t offset, struct place *at);

/* Records that a file is damaged of which a scan finds nothing wrong. */
void journal_note_damaged_file(struct journal *j, const struct segment *seg);

/* Records that [from, to) is in no file. Nothing where that is empty. */
void journal_note_missing(struct journal *j, uint64_t from, uint64_t to);

#endif
