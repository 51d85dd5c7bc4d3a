/*
 * A segment is one file of a journal, as long as somebody is interested in it: the active one always, a sealed
 * one while it is open for reading. Of the others a journal remembers a `part` each (inner.h).
 *
 * Segments belong to their journal. Sealed ones go away when their descriptor is wanted for another file.
 */
#ifndef STORE_LOG_SEGMENT_H
#define STORE_LOG_SEGMENT_H

#include "store/disk/files.h"
#include "store/disk/path.h"
#include "store/format/index.h"
#include "store/format/record.h"

struct journal;

enum { SEGMENT_HINTS = 4 };

/* A batch boundary that somebody is likely to ask for. */
struct hint {
    uint64_t offset, position;
};

struct segment {
    struct file file;
    struct journal *journal;      /* outlives us */
    struct list sealing;          /* in journal.sealing from the roll to the next round */
    struct list indexed;          /* in store.indexed while it is sealed and its index is in memory */
    uint64_t first, next;         /* offsets it holds */
    uint64_t size;                /* position after its last batch */
    uint64_t written;             /* of these, bytes that the file holds */
    uint64_t space;               /* bytes that were taken from the disk */
    uint64_t epoch;               /* of its last batch */
    int64_t time_first, time_last;
    uint32_t crc;                 /* of the bytes below `size`; kept only while it is active */
    bool ended;                   /* has its end record; nothing is added */
    bool renamed;                 /* is called .log */
    bool pinned;                  /* a job needs it: it survives the closing of its descriptor */
    bool index_whole;             /* the index in memory covers all of it; else index_cache_want it first */
    bool scanned;                 /* damage was looked for */
    bool preallocated;             /* its successor was ordered */
    unsigned hint_at;             /* the oldest hint, replaced next */
    struct hint last;             /* start of the last batch */
    struct hint hints[SEGMENT_HINTS];   /* where readers stopped */
    struct index index;
};

struct segment *segment_new(struct journal *j, uint64_t first);
void segment_free(struct segment *seg);              /* closes it */
struct path segment_path(const struct segment *seg);

/* Makes sure that its descriptor is open. 0 or -errno. */
int segment_use(struct segment *seg);

/* Makes the file of a new active segment with space for `need` bytes of batches. 0, or -ENOSPC or another -errno
 * with nothing changed. */
int segment_create(struct journal *j, uint64_t first, uint64_t need, struct segment **out);

/* Puts its file header into the journal's pending bytes, which must be empty. */
void segment_begin(struct segment *seg, uint64_t epoch);

/* Takes space so that need more bytes and an end record fit. 0 or -ENOSPC. */
int segment_reserve(struct segment *seg, uint64_t need);

/* Opens a sealed file and learns its bounds. 0; -ERR_FORMAT when it is not this topic's; -errno. */
int segment_load(struct journal *j, uint64_t first, struct segment **out);

/* Is this the header of a file of j that begins with `first`? 0; -ERR_FORMAT: another topic's, cluster's or
 * version's; -ERR_DAMAGED: its checksum is bad. */
int file_head_check(struct journal *j, const char *in, uint64_t first);

/* Walks through all of the file, notes what is damaged in the journal, and indexes the rest. 0 or -errno. */
int segment_scan(struct segment *seg);

/* Remembers a boundary for the next reader. */
void segment_hint(struct segment *seg, uint64_t offset, uint64_t position);

/* The batch that holds this offset, which must be below what is written of it: its head and where it begins. 0;
 * -ERR_DAMAGED; -errno. */
int segment_find(struct segment *seg, uint64_t offset, struct hint *at);

/* A walk over batch heads, without checksums. */
struct walk {
    struct segment *seg;
    uint64_t offset, position;    /* of the next batch */
    uint64_t at;                  /* the window in the store's scratch buffer */
    size_t n;
    size_t window;                /* how much is read at once */
};

struct walk walk_begin(struct segment *seg, const struct index_entry *from);   /* NULL: the start */

/* Reads the head at the walk's place: 1; 0 at the end; -ERR_DAMAGED; -errno. walk_skip goes past it. */
int walk_head(struct walk *w, struct batch_head *head);
void walk_skip(struct walk *w, const struct batch_head *head);

#endif
