/*
 * What a leader sends and a follower takes: the same bytes, in files that end at the same places.
 *
 * A follower makes file headers and end records itself. It can, because they follow from the batches: a file bears the
 * epoch of its first batch, an end record repeats its last one, and neither states a disk mark or anything of the node.
 */
#ifndef STORE_REPLICATION_BATCHES_H
#define STORE_REPLICATION_BATCHES_H

#include "store/log/journal.h"

/* Whole batches, one after the other in one file. */
struct batch_run {
    uint64_t first, next;         /* their offsets: the first batch begins exactly at `first` */
    uint64_t file_first;          /* first offset of the file that they are in */
    bool has_file_crc;            /* first == file_first, and a sound file comes before it */
    uint32_t file_crc;            /* whose end record states this checksum */
};

/* The leader's side: appends whole verified batches from offset `from` on that begin below `to` and are written, to
 * `out`: one if there is one, then no more than bytes_max (or BATCH_RUN_SIZE_MAX) in all, and none of another file. End
 * records are left out. first == next: there is nothing yet. 0; -ERR_GONE; -ERR_DAMAGED; -ERR_BAD_RANGE: `from` is
 * inside a batch or past the tail; -errno. */
int journal_read_batches(struct journal *j, uint64_t from, uint64_t to, size_t bytes_max, struct buf *out,
                         struct batch_run *run);

/* The follower's side: appends such batches, byte for byte, at the tail. New files begin where run->file_first says,
 * and never by the journal's own options. The bytes come from a network, so everything is checked before anything
 * changes. 0; -ERR_DAMAGED: they are no valid batches from the tail on; -ERR_DIVERGED: boundaries or checksums of files
 * differ from ours; -ERR_BUSY: they continue a file that was ended here, and is not on the disk yet, or a
 * truncation has not ended on the disk; -ERR_TOO_LARGE; -ENOSPC. */
int journal_receive(struct journal *j, const struct batch_run *run, slice batches);

#endif
