/*
 * What the files of the store share: the insides of a store and of a journal, and the steps between them. Nobody
 * outside core/store includes this.
 *
 * A journal's files in order are its parts. The last one is `active` when there is one (there is none before the
 * first append). Offsets rise through: first <= disk <= written <= tail.
 */
#ifndef STORE_LOG_INNER_H
#define STORE_LOG_INNER_H

#include "base/map.h"
#include "store/disk/disk.h"
#include "store/format/checkpoint.h"
#include "store/format/scan.h"
#include "store/log/commit_wait.h"
#include "store/log/segment.h"
#include "store/log/store.h"

/* What is remembered of each file. */
struct part {
    uint64_t first;
    uint64_t size;                /* in bytes; not kept up for the active file */
    struct segment *segment;      /* owned; NULL unless open */
};

struct damaged_range {
    uint64_t from, to;            /* offsets */
};

enum preallocate { PREALLOCATE_NONE, PREALLOCATE_RUNNING, PREALLOCATE_READY };

struct journal {
    struct store *store;          /* outlives us */
    struct list all;              /* in store.journals */
    struct list dirty;            /* in store.dirty while bytes are pending */
    struct list unsynced;         /* in one of store.unsynced while a round is owed */
    char *name;                   /* owned */
    void *owner;
    struct journal_options options;

    uint64_t tail, written, disk;
    uint64_t epoch;               /* of the last batch */
    int64_t time_ms;              /* of the last batch */
    uint64_t stated;              /* the highest mark of the synced set that a batch states */
    uint64_t bytes_sealed;        /* of all parts but the active one */

    struct part *parts;           /* owned */
    uint32_t parts_count, parts_cap;
    struct segment *active;       /* that of the last part, or NULL */
    struct list sealing;          /* segments that ended since the last round */
    struct buf pending;           /* the end of the active file, not yet written */

    struct damaged_range *damage;         /* owned; offsets that cannot be read */
    uint32_t damage_count;

    uint64_t checkpoint_sequence;
    uint64_t checkpoint_position; /* of the last one, in the active file */
    bool checkpoint_clean;        /* the last one still says all there is */
    bool dir_dirty;               /* a file was made: fsync the directory before `disk` rises */
    bool in_round;
    bool put_off;                 /* journal_defer_sync */
    bool repairing;               /* there is a struct repair */
    struct preparation *preparation;   /* owned; what was done ahead for a cut, or NULL */
    unsigned char preallocated;   /* enum preallocate */
    unsigned jobs;                /* under way for us, other than the round */
};

/* One turn of syncing: see group_commit.c. */
struct group_commit;

struct store {
    struct disk disk;
    char *node_name;              /* owned */
    struct store_options options;
    struct list indexed;          /* sealed segments whose index is in memory; the most recently used last */
    size_t indexed_bytes, indexed_max;
    struct list journals;
    struct list dirty;            /* with pending bytes */
    struct list unsynced;         /* that want a round at once */
    struct list unsynced_later;   /* that can wait for the interval */
    struct commit_wait commit_wait;         /* what those wait for */
    uint64_t interval_due_ns;     /* when unsynced_later must go; 0 = it is empty */
    struct group_commit *commit;          /* owned */
    struct audit *audit;          /* owned; NULL when there is none */
    struct list preparations;     /* the one that goes on, if any */
    bool topics_dirty;            /* topics/ has a new entry */
    bool minted;                  /* the state was lost: which epochs this node led is not known */
    bool was_clean;               /* the last run ended by store_close */
    bool read_direct;             /* it ended by a failed write: believe only the disk */
    bool closing;                 /* everything wants a round, whatever its durability */
    struct reader reader;         /* of recovery: its buffer serves all journals */
    struct buf names;             /* what store_next_name found */
    struct store_stats stats;
};

/* turn.c */
void store_sync_all(struct store *s);                                /* writes and syncs everything; waits */

/* store.c */
void store_free(struct store *s);                                    /* memory and descriptors; journals are gone */
struct path topic_path(const struct journal *j);
struct path file_path(const struct journal *j, uint64_t first, enum file_kind kind);
bool store_led(const struct store *s, uint64_t epoch);
void store_note_epoch(struct store *s, uint64_t epoch);              /* one that a topic has */
int store_note_durability(struct store *s, enum durability d);       /* before anything is appended under it */

/* journal.c */
struct part *part_add(struct journal *j, uint64_t first, uint64_t size, struct segment *seg);
struct part *part_of(const struct journal *j, uint64_t offset);      /* the last with first <= offset, or NULL */
int part_segment(struct journal *j, struct part *part, struct segment **out);
void journal_write(struct journal *j);                               /* pending bytes to the file */
void journal_want_sync(struct journal *j);
uint64_t journal_first(const struct journal *j);
int journal_begin(struct journal *j, uint64_t first, uint64_t epoch, uint64_t need);   /* a new active file */
int journal_make_room(struct journal *j, uint64_t epoch, uint64_t size, bool begin);   /* in a new file? */
void journal_take(struct journal *j, slice batches);                   /* valid, and there is room for them */
int journal_begin_empty(struct journal *j);                          /* at the tail, for its name's sake; waits */
struct checkpoint journal_checkpoint(const struct journal *j);       /* of what is written now */
void journal_save_checkpoint(struct journal *j, struct checkpoint *c);
void journal_free(struct journal *j);
void segment_evicted(struct file *f);

/* index_cache.c */
int index_cache_want(struct segment *seg);   /* has its index in memory, and its file open. 0 or -errno */
void index_cache_drop(struct segment *seg);              /* whoever wants it again reads the file of it */
void index_cache_forget(struct segment *seg);            /* it is no longer that of a sealed file */

/* read.c */
int segment_of(struct journal *j, uint64_t offset, struct segment **out);   /* that of the batch that holds it */

/* damage.c */
bool damage_add(struct journal *j, uint64_t from, uint64_t to);      /* false: it was known */
void damage_missing(struct journal *j, uint64_t from, uint64_t to);  /* the same, said as a hole between files */
void damage_keep(struct journal *j, uint64_t from, uint64_t to);     /* forgets all but what lies in there */
void damage_drop(struct journal *j, uint64_t from, uint64_t to);     /* forgets what lies in there */
void damage_scan(struct segment *seg);                               /* something is wrong there: scans it, if never */
void damage_note_file(struct segment *seg);                              /* and it is noted, though no scan finds it */

/* sealed_file.c */
struct part *part_sealed(struct journal *j, uint64_t first);         /* the sealed file that begins there, or NULL */
bool file_unusable(int rc);                                          /* not an I/O error: its bytes are wrong */
uint64_t part_end(const struct journal *j, const struct part *part);   /* where the next file begins, or the tail */

/* audit.c */
void audit_step(struct store *s);                                    /* goes on with it when that is due */
uint64_t audit_deadline_ns(const struct store *s);
void audit_cancel(struct journal *j);                                /* that of one of its files */

/* truncate_prepare.c */
void prepare_step(struct store *s);                                    /* goes on with it */
void prepare_cancel(struct journal *j);                                /* it was in vain */

/* truncate.c */
int journal_reopen(struct journal *j);              /* the file that ends at the tail is active again */

/* read_batches.c */
int part_end_crc(struct journal *j, struct part *part, uint32_t *crc);   /* that a sound end record states */

/* recover.c */
int journal_recover(struct journal *j);

/* preallocate.c */
struct path preallocate_path(const struct journal *j);
void preallocate_want(struct journal *j);   /* has one made if the active file is half full */
int preallocate_take(struct journal *j, const char *path);   /* 0: it is called `path` now */

/* seal.c */
void seal_submit(struct segment *seg);

/* group_commit.c */
void group_commit_new(struct store *s);
void group_commit_free(struct store *s);
bool group_commit_busy(const struct store *s);
void group_commit_submit(struct store *s, struct list *journals, struct list *more);

/* delete_later.c */
void delete_later_files(struct journal *j, struct buf *paths);   /* NUL-terminated, oldest first; takes them */
void delete_later_trash(struct store *s);   /* all there is in trash/ */

#endif
