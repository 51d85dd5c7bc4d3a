/*
 * Who this node is: the state file as it was found, or a new identity where there is none.
 */
#ifndef STORE_RECOVERY_IDENTITY_H
#define STORE_RECOVERY_IDENTITY_H

#include "store/log/store.h"

/* Reads data/state, or mints one; records how the last run ended (store.last_run), and saves that this one runs. 0, or
 * an error and a sentence in `why`. */
int identity_open(struct store *s, struct buf *why);

/* A topic has batches of this epoch: the node's own epoch is never lower. */
void identity_note_epoch(struct store *s, uint64_t epoch);

/* Whether this node led the epoch. Where that is not known, it may have: then what could have been acknowledged here is
 * kept, and recovery refuses rather than truncates. */
bool identity_led(const struct store *s, uint64_t epoch);

#endif
