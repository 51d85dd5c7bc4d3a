/*
 * Opening the store and its journals, however the last run ended.
 */
#ifndef STORE_RECOVERY_OPEN_H
#define STORE_RECOVERY_OPEN_H

#include "store/log/store.h"

/* Opens or makes the data directory, locks it, reads the state, starts the disk thread. May wait for the disk. 0; or an
 * error, and a sentence for the operator in `why`: another process uses the directory, it is not Lignum's, of another
 * version, or not writable. */
int store_open(const struct store_options *o, struct store **out, struct buf *why);

/* Opens topics/<name>, creating it when absent, and recovers it (recover.h). May wait for the disk. 0;
 * -ERR_TOPIC_EXISTS: the directory holds another topic of that name; -ERR_FORMAT: another cluster's or format
 * version's; -errno. */
int journal_open(struct store *s, slice name, const struct journal_options *o, struct journal **out);

#endif
