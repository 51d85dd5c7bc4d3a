/*
 * The copies that are made of what is cut off: data/diverged/.
 */
#ifndef STORE_REPLICATION_SET_ASIDE_H
#define STORE_REPLICATION_SET_ASIDE_H

#include "store/disk/path.h"
#include "store/log/segment.h"

struct journal;
struct store;

/* A name for what begins with this offset that nothing has yet. */
struct path set_aside_path(const struct journal *j, uint64_t offset);

/* Keeps what stands in the index-th part from a place on, and all later parts, in a directory. Waits for the disk.
 * `ahead`: what goes of the index-th part is there already, by the name with .part. 0; or an error, and nothing is left
 * of it. */
int set_aside_keep(struct journal *j, uint32_t index, struct hint at, const char *dir, bool ahead);

/* Begins the copy of what goes of a file that is cut through, in this directory. A descriptor, or -errno. */
int set_aside_begin(struct segment *seg, struct hint at, const char *dir);

/* Copies the bytes [at, end) of a file, to `out` on in the other. On any thread. 0 or -errno. */
int set_aside_copy(int from, uint64_t at, uint64_t end, int to, uint64_t out);

/* Moves the directory of a topic, into which nobody writes any more, to a name in diverged/. Where that is on another
 * filesystem it is copied there, which waits for the disk, and moved to trash/. What was moved is not fsynced yet; a
 * copy is. 0; or -errno, and it is where it was. */
int set_aside_move(struct store *s, const char *from, const char *to);

/* Removes copies that did not become complete before a crash: what they are of is still in its topic. By way of trash/,
 * or at once where diverged/ is on another filesystem. */
void set_aside_sweep(struct store *s);

/* Takes away the names that files of the journal have in diverged/ too: a crash in a cut leaves such. 0 or -errno. */
int set_aside_release(struct journal *j);

#endif
