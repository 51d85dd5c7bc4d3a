/*
 * Recovery of one topic: which of its bytes are its history.
 *
 * A file without an end record is read from the last checkpoint to the first bytes that are no valid batch:
 * position P, offset O. What decides is D, the highest disk mark that any valid batch (also one after P) or checkpoint
 * states: everything below D has been acknowledged as durable. The mark in a batch speaks of the disk of the node that
 * led its epoch; of what was received from another, this node's own checkpoints tell what its own disk had, and while
 * it is in the synced set also the marks of that (inspect.c).
 *
 *   - zeros from P on, O >= D:  the end.
 *   - other bytes, O >= D:      a torn tail. Nobody was told of it. A copy goes to data/torn/, then it is cut off;
 *                               so are later files, which a power loss can leave behind without what came before.
 *   - O < D, or a falling epoch, or bad bytes after a clean stop: damage. The file stays byte for byte, is closed
 *                               as it is (.log, no end record), and a new one begins at the higher of D and what was
 *                               found after the bad bytes. The lost offsets are refused by readers.
 *
 * Nothing is ever deleted because something about it is missing: bytes move to data/torn/.
 */
#ifndef STORE_RECOVERY_RECOVER_H
#define STORE_RECOVERY_RECOVER_H

#include "store/log/inner.h"

/* A file of the topic, and what a look into it gave when it has no end record by its name. */
struct found {
    uint64_t first, size;
    bool sealed;                 /* .log */
    struct segment *segment;     /* of a .qwal, once looked at */
    int end;                     /* a scan_found: what its batches end with */
    bool headless;               /* its header is zeros or damaged */
    bool fallen;
};

struct recovery {
    struct journal *journal;
    struct found *files;         /* owned, in order */
    size_t count;
    bool linked;                 /* one of them has a second name */
    bool has_checkpoint;
    struct checkpoint checkpoint;
    uint64_t disk;               /* D */
    uint64_t stated;             /* the highest mark that any batch states, of whatever epoch */
    uint64_t tail;               /* so far */
};

/* inspect.c: reads the .qwal files from where that is needed on. 0 or an error. */
int recovery_inspect(struct recovery *r);
bool recovery_last(const struct recovery *r, const struct found *f);

/* quarantine.c: the ways to set bytes aside. 0 or -errno; said. */
int quarantine_tail(struct segment *seg);                          /* what stands after seg->size */
int quarantine_file(struct journal *j, struct segment *seg);      /* a whole file; frees the segment */
struct path quarantine_name(const struct journal *j, uint64_t offset, const char *suffix);   /* one not taken */

#endif
