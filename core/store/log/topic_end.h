/*
 * The entry of a journal in data/ends (format/ends.h), which is made when it is closed.
 */
#ifndef STORE_LOG_TOPIC_END_H
#define STORE_LOG_TOPIC_END_H

#include "store/format/ends.h"
#include "store/log/journal_struct.h"

/* Whether data/ends is where a start finds how this journal ended: it is small, and has no checkpoint of its own. All
 * that was written is synced. */
bool journal_ends_small(const struct journal *j);

/* Its entry. 0 or -errno. */
int topic_end_of(const struct journal *j, struct topic_end *out);

/* Fills in size, file_changed and dir_changed; first: of the topic's only file, or NULL for none. 0 or -errno. */
int topic_end_stat(const struct topic_dir *dir, const uint64_t *first, struct topic_end *out);

#endif
