/*
 * Keeping what a truncation removes: data/diverged/NAME-OFFSET-MILLISECONDS/ has the shape of a topic's directory, so
 * that verify and dump read it. Whole files are linked into it. Of a file that is truncated in the middle, a file of
 * the same format is made that begins with the first batch that goes.
 *
 *   .part      the directory's name while it is being filled. The journal still has everything in it: a start after a
 *              crash removes it.
 *   complete   renamed, and fsynced: only then are files removed from the journal.
 *
 * From the link until the end of the truncation a file has two names. If the truncation ends early, the journal keeps
 * the file, and will write to it or truncate it: so the name in diverged/ is removed before anything else happens, here
 * after an error, and at the next start after a crash (recovery/unfinished.h).
 */
#ifndef STORE_REPLICATION_SET_ASIDE_H
#define STORE_REPLICATION_SET_ASIDE_H

#include "store/log/journal_struct.h"

/* A path in diverged/ for what begins with this offset, which neither a directory nor a .part has. */
struct path set_aside_path(const struct topic_dir *dir, uint64_t offset);

/* Keeps what the index-th part holds from a place on, and all later parts, in the directory `to`. Waits for the disk.
 * prepared: to.part exists, with the copy of what goes of the index-th part. 0; or an error, and nothing is kept. */
int set_aside_keep(struct journal *j, uint32_t index, struct place at, const char *to, bool prepared);

/* Begins the copy of what a segment holds from a place on, in this directory. A descriptor, or -errno. */
int set_aside_begin(struct segment *seg, struct place at, const char *folder);

/* Moves the directory of a journal that is settled to a path in diverged/. Where that is another filesystem, the disk
 * thread copies it there (copy_away.h), and it is moved to trash/; *to is then where the copy is. What was moved is not
 * fsynced yet; a copy is. 0; -ERR_BUSY: it is being copied, so ask again; or -errno, and it is where it was. */
int set_aside_journal(struct journal *j, struct path *to);

/* Moves the directory of a topic, to which nothing is written any more, to a path in diverged/. Where that is another
 * filesystem it is copied there, which waits for the disk, and moved to trash/. What was moved is not fsynced yet; a
 * copy is. 0; or -errno, and it is where it was. */
int set_aside_move(struct disk *d, const char *from, const char *to);

/* Calls `each` with the names in diverged/, at most `max` of them, in no order. Returns how many. */
unsigned set_aside_list(const struct store *s, unsigned max, void (*each)(void *arg, const char *name), void *arg);

#endif
