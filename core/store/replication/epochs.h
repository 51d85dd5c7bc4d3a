/*
 * Where epochs end in a journal, and which batch ends or holds an offset. This is found in the batches themselves, so
 * that there is no table that could disagree with them. A search reads batch headers; the batches that an answer rests
 * on are read whole and checked, so that a damaged header cannot answer.
 */
#ifndef STORE_REPLICATION_EPOCHS_H
#define STORE_REPLICATION_EPOCHS_H

#include "store/log/journal.h"

/* The highest epoch <= `epoch` that any batch has, and the offset after the last batch of it: where the history of that
 * epoch ends here. *found = 0 and *end = the first offset when there is none. 0; -ERR_DAMAGED; -errno. */
int journal_epoch_end(struct journal *j, uint64_t epoch, uint64_t *found, uint64_t *end);

/* The header of the batch that holds an offset. 0; -ERR_BAD_RANGE: at or past the tail; -ERR_GONE; -ERR_DAMAGED;
 * -errno. */
int journal_batch_of(struct journal *j, uint64_t offset, struct batch_head *out);

/* The header of the batch that ends at offset `end`. 0; -ERR_BAD_RANGE: no batch ends there; -ERR_GONE: retention has
 * removed it; -ERR_DAMAGED; -errno. */
int journal_batch_before(struct journal *j, uint64_t end, struct batch_head *out);

#endif
