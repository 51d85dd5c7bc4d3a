/*
 * The commit log makes small batches of many topics durable by one write and one sync: each topic's file gets its
 * bytes later, many at once (write.h), and on the disk together with others. A start after a crash, also after kill
 * -9, copies what the log holds to the topics' files (recovery/replay.h), before it looks at them. The rules are in
 * tests/model/commitlog.pml, the bytes in format/commit_record.h.
 *
 * There are two files, 0.log and 1.log. Their states:
 *
 *   free      holds nothing that counts: at first it does not exist.
 *   in use    takes the frame of each group commit that goes by the log. `current` is the one in use, or the next that
 *             will be.
 *   retiring  takes no more frames. It begins when the file is old or full, or somebody waits for it
 *             (commit_log_release). First, in some turns, the topics' files are written that lack what it has
 *             (`writing`); then a slow job syncs the whole filesystem, and says in its head that it is free. Meanwhile
 *             the other one is current.
 *
 * Invariants:
 *   - What is below a journal's disk mark is on the disk in the topic's file, or in a frame of a file that is not free.
 *   - What is below a journal's written mark and in no file of it is in a frame of a file that is not free, and in the
 *     journal's `pending`.
 *   - A journal is not truncated, and its files are not replaced, while a file that is not free has a frame of it
 *     (journal_settle waits for that): so a start never brings back what was cut.
 *
 * A write that fails (a full disk) costs nothing: the topics' files have space for their bytes, the next group commit
 * goes by them, and the log is tried again after COMMIT_LOG_RETRY_MS. A sync that fails ends the process.
 */
#ifndef STORE_LOG_COMMIT_LOG_H
#define STORE_LOG_COMMIT_LOG_H

#include <stdbool.h>
#include <stdint.h>

struct store;
struct journal;
struct commit_log;

struct commit_log *commit_log_new(struct store *s);
void commit_log_free(struct commit_log *l);

/* Of a group commit, on the loop thread: begins its frame. False: it cannot go by the log. */
bool commit_log_begin(struct commit_log *l);

/* Adds what was appended to the journal's active file and is not durable. False: it does not fit, or cannot be read. */
bool commit_log_add(struct commit_log *l, struct journal *j);

/* The frame goes nowhere. */
void commit_log_drop(struct commit_log *l);

/* The frame will be written: the number of the use that has it. */
uint64_t commit_log_take(struct commit_log *l);

/* On the disk thread: writes the frame and syncs it. 0; -errno with *what NULL: it could not be written; -errno with
 * the call that failed in *what: the sync; 1: the file has no name any more. */
int commit_log_write(struct commit_log *l, const char **what);

/* Of the same group commit, on the loop thread, afterwards; rc of commit_log_write. */
void commit_log_written(struct commit_log *l, int rc);

/* In each turn in which no group commit runs: begins to retire the file in use when that is due. */
void commit_log_tend(struct commit_log *l, uint64_t now_ns);

/* In each turn: writes some of the topics' files whose bytes the retiring file has, then has it retired; or some of
 * those that are held, if memory has too much of them. */
void commit_log_write_files(struct commit_log *l);
bool commit_log_writes_files(const struct commit_log *l);

/* When a file begins to retire; 0: no file is in use. */
uint64_t commit_log_deadline_ns(const struct commit_log *l);

/* Whether some frame of this journal is in a file that is not free. */
bool commit_log_holds(const struct commit_log *l, const struct journal *j);

/* Has all files retired as soon as possible. */
void commit_log_release(struct commit_log *l);

/* When the store closes, and the whole filesystem was synced: removes the files. Waits for the disk. 0 or -errno. */
int commit_log_close(struct commit_log *l);

#endif
