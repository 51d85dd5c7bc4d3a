/*
 * Moving bytes that are not part of the history to data/torn/.
 */
#ifndef STORE_RECOVERY_QUARANTINE_H
#define STORE_RECOVERY_QUARANTINE_H

#include "store/log/journal_struct.h"

/* Copies what follows the last batch of a file, and truncates the file there. 0 or -errno; logged. */
int quarantine_tail(struct journal *j, struct segment *seg);

/* Moves a whole file. Frees the segment. 0 or -errno; logged. */
int quarantine_file(struct journal *j, struct segment *seg);

/* A path in data/torn/ that no file has. */
struct path quarantine_path(const struct topic_dir *dir, uint64_t offset, const char *suffix);

/* Fsyncs data/torn/. 0 or -errno. */
int quarantine_sync(const struct topic_dir *dir);

#endif
