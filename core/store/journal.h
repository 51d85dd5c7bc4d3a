/*
 * A journal is one topic's messages on this node's disk: a directory of segment files in order of
 * offsets, the last of which is written.
 *
 * Life of a batch: journal_append puts it into memory and moves `tail`; store_flush writes it to the
 * file and moves `written`; store_sync hands the file to the disk thread, and when that is done
 * store_collect moves `disk`. A journal knows nothing of Lua, sockets or replication; whoever owns
 * it is told of movements by store_moved.
 *
 * All calls are made from the loop thread. Reads go to the page cache and may wait for a cold disk;
 * nothing else here waits for the disk unless it says so.
 */
#ifndef STORE_JOURNAL_H
#define STORE_JOURNAL_H

#include "store/record.h"

struct store;
struct journal;

enum durability { DURABILITY_COMMIT, DURABILITY_INTERVAL, DURABILITY_OS };

struct journal_options {
    struct topic_id id;
    uint64_t segment_messages;    /* a file is sealed when it holds this many messages, */
    uint64_t segment_bytes;       /* or this many bytes, */
    int64_t segment_age_ms;       /* or its first batch is this old at the next append; 0 = never */
    enum durability durability;
};

struct append {
    slice messages;               /* as message_write encodes them, one after the other */
    uint32_t count;
    uint64_t epoch;
    int64_t time_ms;              /* raised to the last batch's time where it is behind */
    uint64_t producer, sequence;  /* 0 when unused */
    uint16_t producer_epoch;
};

/* What retention keeps; 0 = no bound. Whole sealed files go, oldest first, never the active one. */
struct retain {
    int64_t age_ms;
    uint64_t bytes;
    uint64_t messages;
};

/* Opens topics/<name>, creating it when absent, and recovers its active file. May wait for the disk.
 * 0; -ERR_TOPIC_EXISTS when the directory holds another topic of that name; -ERR_FORMAT when it belongs to another
 * cluster or format version; -errno. */
int journal_open(struct store *s, slice name, const struct journal_options *o, struct journal **out);

/* Lets go of it; what was appended must have been flushed (store_close does all of them in order). */
void journal_close(struct journal *j);

/* Moves the directory out of the way and has the disk thread delete it. The journal is closed, also when that fails. */
int journal_delete(struct journal *j);

/* New bounds for files begun from now on. Where durability changes, what was appended is synced first: waits for the
 * disk. */
void journal_set_options(struct journal *j, const struct journal_options *o);

/* Appends one batch in memory. 0 and its first offset; -ENOSPC when it fits into no space that can be
 * taken (nothing has moved); -ERR_TOO_LARGE past BATCH_SIZE_MAX or BATCH_COUNT_MAX. */
int journal_append(struct journal *j, const struct append *a, uint64_t *first);

/* Appends whole verified batches that hold offsets >= from and < to, to `out`, at least one if there is one
 * below `written`, and no more than bytes_max after the first. *next is the offset after the last one (from when
 * none). The first batch may begin below `from` and the last may end past `to`: batches are not cut.
 * 0; -ERR_GONE below the first offset; -ERR_DAMAGED where stored bytes are not valid; -errno. */
int journal_read(struct journal *j, uint64_t from, uint64_t to, size_t bytes_max, struct buf *out,
                 uint64_t *next);

/* The same, as a range of one file for sendfile, checked by headers only (checksums are the reader's to check).
 * The range ends at a file's end. The fd is the caller's to close. */
struct file_range {
    int fd;
    uint64_t position, size;
    uint64_t first, next;
};
int journal_range(struct journal *j, uint64_t from, uint64_t to, size_t bytes_max, struct file_range *out);

/* The offset of the first batch with a timestamp of at least time_ms; the tail when all are older. 0 or an error. */
int journal_at_time(struct journal *j, int64_t time_ms, uint64_t *offset);

/* Deletes sealed files that retention no longer keeps, through the disk thread. The number of files. */
int journal_trim(struct journal *j, const struct retain *keep, int64_t now_ms);

struct journal_info {
    uint64_t first, tail, written, disk;
    uint64_t bytes;               /* of records; space taken ahead not counted */
    uint32_t segments;
    uint32_t damaged;             /* ranges known to be damaged */
    int64_t last_time_ms;
};
void journal_info(const struct journal *j, struct journal_info *out);

#endif
