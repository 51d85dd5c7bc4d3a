/*
 * The store is the data directory and the journals in it.
 *
 *     data/lock               flock'ed by the process that uses it
 *     data/state              who this node is (store/disk/state.h)
 *     data/topics/NAME/       one journal: <first offset, 20 digits>.qwal | .log, .index, checkpoint
 *     data/small/NAME         one that is small (topic_dir.h)
 *     data/torn/              copies of torn tails that recovery cut off, and of damaged files that were repaired
 *     data/ends               where small topics ended when the store was last closed (format/ends.h)
 *     data/trash/             deleted topics that the disk thread removes
 *     data/commit/            what many topics were given lately (commit_log.h)
 *     data/diverged/          what was truncated because the leader's history differs
 *
 * It is opened by recovery/open.h. In each turn the loop calls store_flush and store_sync; waiting for the disk is left
 * to the disk thread. Group commit follows from that: whatever was flushed while the thread was busy is one sync.
 */
#ifndef STORE_LOG_STORE_H
#define STORE_LOG_STORE_H

#include "base/hist.h"
#include "store/disk/state.h"
#include "store/log/journal.h"

struct store_options {
    const char *path;             /* made when absent; its parent must exist */
    const char *node_name;        /* written to a new state file */
    unsigned files_max;           /* log files held open */
    int64_t sync_interval_ms;     /* of durability "interval" */
    bool own_dirs;                /* new journals are not small: for tests of what larger ones do */
    int64_t commit_log_age_ms;    /* how long a file of the commit log is in use; 0: COMMIT_LOG_AGE_MS */
    /* Called from store_flush and store_collect when a journal's written or disk mark has risen. It must not append to
     * any journal. */
    void (*moved)(void *owner, uint64_t written, uint64_t disk);
};

/* Flushes, syncs, writes checkpoints, closes every journal, marks the state clean. Waits for the disk. */
void store_close(struct store *s);

struct state *store_state(struct store *s);

/* Writes the state and fsyncs it. Waits for about a millisecond. 0 or -errno. */
int store_save_state(struct store *s);

/* Takes over another cluster's id, and saves it. 0; -ERR_FORBIDDEN: files of topics bear the old one; -errno. */
int store_set_cluster(struct store *s, const struct id *cluster);

/* All journals that there are have been opened: how they ended need not be known any more. Until then the store keeps
 * that of those that are yet to be opened, also when it is closed. */
void store_opened(struct store *s);

/* The names of the topics that have a file or a directory, in no order, and perhaps twice: begin with *at = 0; false at
 * the end. */
bool store_next_name(struct store *s, size_t *at, slice *name);

/* Step 3 of the turn: writes appended batches to their files, or leaves them to the commit log. A failed write ends the
 * process (EXIT_IO). */
void store_flush(struct store *s);

/* Step 5: hands what was written to the disk thread, unless that is still busy, or it pays to wait a moment for more
 * batches (commit_wait.h): store_deadline_ns tells until when. */
void store_sync(struct store *s);

/* Has the files hold everything that is now below `written`, for those that read them by their names, in steps of about
 * 0.5 ms: call it with *left = SIZE_MAX first, and then again until *left, the files that wait yet, is 0. */
void store_write_files(struct store *s, size_t *left);

/* Readable when the disk thread has finished a job: then call store_collect, which raises disk marks. A failed sync
 * ends the process (EXIT_IO). */
int store_event_fd(const struct store *s);
void store_collect(struct store *s);

/* Looks whether the data directory is still there; each group commit looks at the files that it syncs, too. */
void store_check_files(struct store *s);

/* Files were removed while they were in use, as by `rm -r data`. It stays so: marks do not rise any more, and what is
 * appended is refused with -ERR_STORAGE. */
bool store_is_lost(const struct store *s);

/* Some journal is known to be damaged. */
bool store_is_damaged(const struct store *s);

/* How long the disk thread has been at the present group commit; 0: none runs. */
uint64_t store_stalled_ns(const struct store *s);

/* Whether the disk thread has work: store_event_fd will announce its end. */
bool store_is_busy(const struct store *s);

/* When store_sync is to be called next though nothing else happens (durability "interval", a wait for more batches, an
 * audit): nanoseconds of clock_ns(), or 0. */
uint64_t store_deadline_ns(const struct store *s);

/* Was space refused in the last FULL_MS, and has nothing as large found room since? */
bool store_is_full(const struct store *s);

struct store_stats {
    struct hist sync;             /* duration of each group commit on the disk thread */
    uint64_t syncs, synced_files, written_bytes;
    unsigned files_open;
    uint64_t torn_bytes;          /* cut off by recovery at this start */
    uint32_t damaged;             /* ranges that are known */
    uint64_t disk_free, disk_size;
};
void store_stats(struct store *s, struct store_stats *out);

#endif
