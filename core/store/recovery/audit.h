/*
 * An audit reads a sealed file from the disk itself, past the page cache, and records what is damaged. It goes in steps
 * on the disk thread with time between them, so that group commits come first and the loop never waits.
 */
#ifndef STORE_RECOVERY_AUDIT_H
#define STORE_RECOVERY_AUDIT_H

#include "store/log/journal.h"

/* Audits the sealed file that begins with `first`; one audit at a time in a store. `done` is called on the loop thread
 * with 0; -ERR_DAMAGED: what is damaged is recorded; -ERR_GONE: the file was removed meanwhile; -ERR_CANCELLED: the
 * journal's files were about to be replaced or closed; -errno. Returns 0 if it has begun; -ERR_BUSY: another one is
 * under way; -ERR_GONE: there is no such sealed file; -errno. */
int journal_audit(struct journal *j, uint64_t first, void (*done)(void *arg, int rc), void *arg);

#endif
