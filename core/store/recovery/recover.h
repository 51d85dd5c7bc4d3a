/*
 * Recovery of one topic decides which of the bytes in its directory are its history.
 *
 * A file without an end record is read from the last checkpoint to the first bytes that are not a valid batch: position
 * P, offset O. The decision rests on D, the highest disk mark that a checkpoint or any valid batch, even one after P,
 * states: everything below D has been acknowledged as durable.
 *
 * Whether the mark in a batch says something about this node's disk is decided in inspect.c: it is the mark of the
 * leader of that epoch, or of all members of the synced set.
 *
 *   - Zeros from P on, and O >= D: the end of the file.
 *   - Other bytes, and O >= D: a torn tail, which was never acknowledged. It is copied to data/torn/, then cut off. So
 *     are later files, which a power loss can leave without those before.
 *   - O < D, or a lower epoch follows a higher one, or bad bytes after a clean stop: damage. The file is kept byte for
 *     byte and closed as it is (.log, no end record). A new file begins at the higher of D and the offset after what
 *     was found behind the bad bytes. Reads of the lost offsets are refused.
 *
 * Nothing is deleted because something is missing from it: bytes move to data/torn/.
 */
#ifndef STORE_RECOVERY_RECOVER_H
#define STORE_RECOVERY_RECOVER_H

struct journal;

/* Recovers a journal without parts from its directory. 0; -ERR_FORMAT or -ERR_TOPIC_EXISTS when it is not this topic's;
 * -ERR_DAMAGED when files overlap; -errno. The error is logged. */
int journal_recover(struct journal *j);

#endif
