/*
 * Writing to a journal's active file, through the page cache. A failed write ends the process.
 */
#ifndef STORE_LOG_WRITE_H
#define STORE_LOG_WRITE_H

#include "store/log/journal_struct.h"

/* Writes the pending bytes. */
void journal_write(struct journal *j);

/* Writes these, which are of the last batches added; nothing is pending. */
void journal_write_bytes(struct journal *j, slice bytes);

#endif
