/*
 * A segment is one file of a topic in use: the active one always, a sealed one while it is being read. Of the other
 * files a journal only remembers that they exist (parts.h).
 *
 * Its states, and what moves it on:
 *
 *   active    is written: FIRST.qwal. Batches are appended to its journal's `pending` buffer and written from there, so
 *             that written <= size. The file ends with zeros, space that is allocated already: size + END_RECORD_SIZE
 *             <= space. `crc` covers all bytes below size. Made by segment_create, or by recovery.
 *   ended     `ended`: the end record is written, and no batch is added any more. It is pinned, and in its journal's
 *             sync.sealing until a group commit has fsynced it. Made by journal_begin_file, which begins the next file.
 *   sealing   a job of the disk thread truncates the file to its size and renames it (seal.c).
 *   sealed    `ended` and `renamed`: FIRST.log, never written again. It is freed when its descriptor is evicted, and
 *             loaded again by segment_load.
 *
 * A truncation makes a sealed segment active again (replication/truncate.c).
 */
#ifndef STORE_LOG_SEGMENT_H
#define STORE_LOG_SEGMENT_H

#include "store/log/topic_dir.h"

enum { SEGMENT_HINTS = 4 };

/* Where a batch begins. */
struct place {
    uint64_t offset, position;
};

struct segment {
    struct file file;
    struct topic_dir *dir;        /* outlives us */
    struct list sealing;          /* of ended segments that are to be synced, then sealed; or alone */
    uint64_t first, next;         /* offsets it holds: from first, below next */
    uint64_t size;                /* position after its last batch */
    uint64_t written;             /* position after the last byte that the file holds of its batches */
    uint64_t synced;              /* of the active one: what is below is durable, here or in the commit log */
    uint64_t space;               /* bytes allocated on disk */
    uint64_t zeroed;              /* of the active one: see zero_ahead.h */
    uint64_t epoch;               /* of its last batch */
    int64_t time_first, time_last;
    uint32_t crc;                 /* of the bytes below `size`; kept while it is active */
    bool origins;                 /* some batch has an origin; maybe, if bytes of it are damaged */
    bool ended;
    bool renamed;
    bool pinned;                  /* a job will need it: it is not freed when its descriptor is evicted */
    bool scanned;                 /* all of it was read in search of damage */
    bool end_missing;             /* that scan found no end record, though it is ended */
    bool preallocated;            /* its successor was ordered (preallocate.h) */
    uint8_t hint_at;              /* the oldest hint, which is replaced next */
    struct place last;            /* of the last batch; offset UINT64_MAX: not known */
    struct place *hints;          /* owned; SEGMENT_HINTS where readers stopped; position 0: none. Or NULL */
    struct cached_index cached;
};

struct segment *segment_new(struct topic_dir *dir, uint64_t first);
void segment_free(struct segment *seg);              /* closes its file */
void segment_forget_hints(struct segment *seg);
struct path segment_path(const struct segment *seg);

/* Opens its descriptor if it is closed. 0 or -errno. */
int segment_use(struct segment *seg);

/* Makes the file of a new active segment: `ready` says that a preallocated one already has its name. 0, or -errno with
 * nothing changed. */
int segment_create(struct topic_dir *dir, uint64_t first, bool ready, struct segment **out);

/* Undoes segment_create. */
void segment_discard(struct segment *seg);

/* Allocates space so that `need` more bytes and an end record fit, in growing steps, but not in vain: a file does not
 * grow beyond size_max. 0 or -ENOSPC. */
int segment_reserve(struct segment *seg, uint64_t need, uint64_t size_max);

/* Appends its file header to `pending`, which is empty, and is what will be written to the file next. */
void segment_begin(struct segment *seg, uint64_t epoch, struct buf *pending);

/* What its end record is like (end_record_write). */
struct batch_head segment_end_like(const struct segment *seg);

/* Adds a batch, whose bytes are on their way to the file. */
void segment_add(struct segment *seg, const struct batch_head *head, const char *bytes);

#endif
