/*
 * What the end record of a sealed file states: asked for by audits, repairs and replication.
 */
#ifndef STORE_LOG_SEALED_FILE_H
#define STORE_LOG_SEALED_FILE_H

#include "store/log/journal_struct.h"

/* The checksum of the whole file that its sound end record states. 0; -ERR_DAMAGED: there is none; or as
 * part_segment. */
int part_end_crc(struct journal *j, struct part *part, uint32_t *crc);

#endif
