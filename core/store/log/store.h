/*
 * The store is the data directory and the journals in it.
 *
 *     data/lock               flock'ed by the process that uses it
 *     data/state              who this node is (store/disk/state.h), replaced as a whole
 *     data/topics/NAME/       one journal: <first offset, 20 digits>.qwal | .log, .index, checkpoint
 *     data/torn/              copies of torn tails that recovery cut off
 *     data/trash/             deleted topics on their way out
 *     data/diverged/          what was cut off because the leader's history is another
 *
 * The loop calls store_flush and store_sync once a turn; one disk thread does the waiting. Group
 * commit follows from that: whatever was flushed while the thread was busy is one sync.
 */
#ifndef STORE_LOG_STORE_H
#define STORE_LOG_STORE_H

#include "base/hist.h"
#include "store/disk/state.h"
#include "store/log/journal.h"

struct store_options {
    const char *path;             /* made when absent; its parent must exist */
    const char *node_name;        /* written to a new state file */
    unsigned files_max;           /* descriptors to keep open */
    int64_t sync_interval_ms;     /* of durability "interval" */
    /* Called from store_flush and store_collect when a journal's written or disk mark has risen. It may
     * append to no journal. */
    void (*moved)(void *owner, uint64_t written, uint64_t disk);
};

/* Opens or makes the directory, takes its lock, reads the state. May wait for the disk. 0; or an error, and a
 * sentence for the operator in `why`: another process has it, it is not ours, another version, not writable. */
int store_open(const struct store_options *o, struct store **out, struct buf *why);

/* Flushes, syncs, writes checkpoints, marks the state clean, closes every journal. Waits. */
void store_close(struct store *s);

struct state *store_state(struct store *s);

/* Writes the state and fsyncs it. Waits (about a millisecond). 0 or -errno. */
int store_save_state(struct store *s);

/* Takes another cluster's id, and saves it. 0; -ERR_FORBIDDEN: there are files under topics/, which bear the old one;
 * -errno. */
int store_set_cluster(struct store *s, const struct id *cluster);

/* Names of the directories under topics/, in no order: start with *at = 0; false at the end. */
bool store_next_name(struct store *s, size_t *at, slice *name);

/* Moves topics/<name>, of which no journal is open, to diverged/<name>-<milliseconds>. Waits for the disk. 0
 * or -errno. */
int store_set_aside(struct store *s, slice name);

/* Whom `moved` is told about; NULL: nobody is told. */
void journal_set_owner(struct journal *j, void *owner);

/* Step 3 of the turn: appended batches go to their files. A failed write ends the process (EXIT_IO). */
void store_flush(struct store *s);

/* Step 5: hands what was written since to the disk thread, unless that is still busy, or more is worth waiting for
 * (store/log/commit_wait.h): not for long, and store_deadline_ns tells until when. */
void store_sync(struct store *s);

/* Readable when the disk thread has finished something; then call store_collect, which moves disk marks. A
 * failed sync ends the process (EXIT_IO). */
int store_event_fd(const struct store *s);
void store_collect(struct store *s);

/* How long the disk thread has been at the present round; 0: it is idle. */
uint64_t store_stalled_ns(const struct store *s);

/* When store_sync wants to be called next although nothing happens (durability "interval", or the next round waits for
 * more): nanoseconds of clock_ns(), or 0. */
uint64_t store_deadline_ns(const struct store *s);

struct store_stats {
    struct hist sync;             /* duration of each round of the disk thread */
    uint64_t syncs, synced_files, written_bytes;
    unsigned files_open;
    uint64_t torn_bytes;          /* cut by recovery at this start */
    uint32_t damaged;             /* ranges known */
    uint64_t disk_free, disk_size;
};
void store_stats(struct store *s, struct store_stats *out);

#endif
