/*
 * The end of a journal: its active file, and what is added to it.
 */
#ifndef STORE_LOG_APPEND_H
#define STORE_LOG_APPEND_H

#include "store/log/journal_struct.h"

/* Has the next group commit sync it, or a later one, as its durability says. */
void journal_want_sync(struct journal *j);

/* Before a journal's files are changed other than by appending: 0 when all that was appended is on the disk, the
 * commit log holds nothing of it, and no job works on the files. Otherwise asks for that and returns -ERR_BUSY: the
 * caller asks again in a later turn. */
int journal_settle(struct journal *j);

/* Ends the active file and begins another one, with space for `need` bytes. 0; or -errno, with nothing changed. */
int journal_begin_file(struct journal *j, uint64_t first, uint64_t epoch, uint64_t need);

/* Begins an empty file at the tail, so that its name keeps the offset, and fsyncs it. 0 or -errno. */
int journal_begin_empty(struct journal *j);

/* Before batches are added: takes space for `size` bytes, in a new file if `begin`. 0; -ENOSPC; -ERR_BUSY:
 * a truncation of the active file has not ended on the disk yet; -errno. */
int journal_make_room(struct journal *j, uint64_t epoch, uint64_t size, bool begin);

/* Adds valid batches for which there is room. */
void journal_add_batches(struct journal *j, slice batches);

/* A checkpoint of what is appended now: all of it is, or will be, in the file or the commit log. */
struct checkpoint journal_checkpoint(const struct journal *j);

/* Writes it; everything that it states must be synced. It may fail: then recovery has more to read. */
void journal_save_checkpoint(struct journal *j, struct checkpoint *c);

#endif
