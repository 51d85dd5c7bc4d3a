/*
 * A journal is one topic's messages on this node's disk: a directory of segment files in order of
 * offsets, the last of which is written.
 *
 * Life of a batch: journal_append puts it into memory and moves `tail`; store_flush writes it to the
 * file and moves `written`; store_sync hands the file to the disk thread, and when that is done
 * store_collect moves `disk`. A journal knows nothing of Lua, sockets or replication; whoever owns
 * it is told of movements by store_moved.
 *
 * All calls are made from the loop thread. Reads go to the page cache and may wait for a cold disk;
 * nothing else here waits for the disk unless it says so.
 */
#ifndef STORE_LOG_JOURNAL_H
#define STORE_LOG_JOURNAL_H

#include "store/format/record.h"

struct store;
struct journal;

enum durability { DURABILITY_COMMIT, DURABILITY_INTERVAL, DURABILITY_OS };

struct journal_options {
    struct topic_id id;
    uint64_t segment_messages;    /* a file is sealed when it holds this many messages, */
    uint64_t segment_bytes;       /* or this many bytes, */
    int64_t segment_age_ms;       /* or its first batch is this old at the next append; 0 = never */
    enum durability durability;
};

struct append {
    slice messages;               /* as message_write encodes them, one after the other */
    uint32_t count;
    uint64_t epoch;
    int64_t time_ms;              /* raised to the last batch's time where it is behind */
    uint64_t producer, sequence;  /* 0 when unused */
    uint16_t producer_epoch;
    bool has_stated;              /* the batch states this mark (what the cluster has, say); else the disk mark */
    uint64_t stated;
};

/* What retention keeps; 0 = no bound. Whole sealed files go, oldest first, never the active one. */
struct retain {
    int64_t age_ms;
    uint64_t bytes;
    uint64_t messages;
};

/* Opens topics/<name>, creating it when absent, and recovers its active file. May wait for the disk.
 * 0; -ERR_TOPIC_EXISTS when the directory holds another topic of that name; -ERR_FORMAT when it belongs to another
 * cluster or format version; -errno. */
int journal_open(struct store *s, slice name, const struct journal_options *o, struct journal **out);

/* Lets go of it; what was appended must have been flushed (store_close does all of them in order). */
void journal_close(struct journal *j);

/* Moves the directory out of the way and has the disk thread delete it. The journal is closed, also when that fails. */
int journal_delete(struct journal *j);

/* New bounds for files begun from now on. Where durability changes, what was appended is synced first: waits for the
 * disk. */
void journal_set_options(struct journal *j, const struct journal_options *o);

/* While nobody waits for it, what is appended is synced no more often than under durability `interval`: a round for
 * each piece of what is caught up with costs whoever shares the disk. Off again, what was put off is in the next
 * round. */
void journal_defer_sync(struct journal *j, bool on);

/* Appends one batch in memory. 0 and its first offset; -ENOSPC when it fits into no space that can be
 * taken (nothing has moved); -ERR_TOO_LARGE past BATCH_SIZE_MAX or BATCH_COUNT_MAX. */
int journal_append(struct journal *j, const struct append *a, uint64_t *first);

/* Appends whole verified batches that hold offsets >= from and < to, to `out`, at least one if there is one
 * below `written`, and no more than bytes_max after the first. *next is the offset after the last one (from when
 * none). The first batch may begin below `from` and the last may end past `to`: batches are not cut.
 * 0; -ERR_GONE below the first offset; -ERR_DAMAGED where stored bytes are not valid; -errno. */
int journal_read(struct journal *j, uint64_t from, uint64_t to, size_t bytes_max, struct buf *out,
                 uint64_t *next);

/* The same, as a range of one file for sendfile, checked by headers only (checksums are the reader's to check).
 * The range ends at a file's end. Of a short one the bytes are read at once: what sendfile costs for any size, and the
 * descriptor, is more than copying it. The fd and the bytes are the caller's to close and free. */
struct file_range {
    int fd;                       /* -1: its bytes are here */
    struct buf bytes;
    uint64_t position, size;
    uint64_t first, next;
    uint64_t epoch;               /* of its last batch, where that is the file's last epoch; 0: it has to be read */
};
int journal_range(struct journal *j, uint64_t from, uint64_t to, size_t bytes_max, struct file_range *out);

/* The offset of the first batch with a timestamp of at least time_ms; the tail when all are older. 0 or an error. */
int journal_at_time(struct journal *j, int64_t time_ms, uint64_t *offset);

/* Deletes sealed files that retention no longer keeps, through the disk thread. The number of files. */
int journal_apply_retention(struct journal *j, const struct retain *keep, int64_t now_ms);

struct journal_info {
    uint64_t first, tail, written, disk;
    uint64_t bytes;               /* of records; space taken ahead not counted */
    uint32_t segments;
    uint32_t damaged;             /* ranges known to be damaged */
    int64_t last_time_ms;
    uint64_t stated;              /* the highest mark of the synced set that a batch is known to state; 0: none */
    uint64_t epoch;               /* of the last batch; 0 when there is none */
};
void journal_info(const struct journal *j, struct journal_info *out);

/* Everything below `mark` is known to be on every member of the synced set: kept, as what batches state, by the next
 * checkpoint. `now`: by one that is written at once, unless something has yet to be synced. */
void journal_note_stated(struct journal *j, uint64_t mark, bool now);

/* The first offset of the file that is being written; the tail when there is none. */
uint64_t journal_active_first(const struct journal *j);

/* -- replication ------------------------------------------------------------------------------------------ */

/* What a follower is sent: whole batches as they stand in one file. */
struct batch_run {
    uint64_t first, next;         /* their offsets: the first batch begins exactly at `first` */
    uint64_t file_first;          /* first offset of the file that they stand in */
    bool has_file_crc;            /* first == file_first, and a sound file comes before it, */
    uint32_t file_crc;            /* whose end record states this */
};

/* Appends whole verified batches from offset `from` on that begin below `to` and are written, to `out`: one if there is
 * one, then no more than bytes_max (or BATCH_RUN_SIZE_MAX) in all, and none past a file's end. End records are not
 * among them: a follower writes the same bytes itself when a shipment begins the next file. first == next: there is
 * nothing yet. 0; -ERR_GONE; -ERR_DAMAGED; -ERR_BAD_RANGE: `from` is inside a batch or past the tail; -errno. */
int journal_read_batches(struct journal *j, uint64_t from, uint64_t to, size_t bytes_max, struct buf *out,
                         struct batch_run *s);

/* Appends shipped batches, byte for byte, at the tail. A journal that receives rolls its files here, as s->file_first
 * says, and never by its own options. The bytes come from a network: everything is checked before anything moves.
 * 0; -ERR_DAMAGED: they are no valid batches from the tail on; -ERR_DIVERGED: boundaries or checksum of the files
 * differ from ours; -ERR_TOO_LARGE; -ENOSPC. */
int journal_receive(struct journal *j, const struct batch_run *s, slice batches);

/* The highest epoch <= `epoch` that any batch has, and the offset after the last batch of it: where the history of
 * that epoch ends here. *found = 0 and *end = the first offset when there is none. 0; -ERR_DAMAGED; -errno. */
int journal_epoch_end(struct journal *j, uint64_t epoch, uint64_t *found, uint64_t *end);

/* Head of the batch that a message is in, its checksum checked. 0; -ERR_BAD_RANGE: it is not here; -ERR_GONE;
 * -ERR_DAMAGED; -errno. */
int journal_batch_of(struct journal *j, uint64_t offset, struct batch_head *out);

/* Head of the batch that ends at offset `end`, its checksum checked. 0; -ERR_BAD_RANGE: no batch ends there; -ERR_GONE:
 * retention has removed it; -ERR_DAMAGED; -errno. */
int journal_batch_before(struct journal *j, uint64_t end, struct batch_head *out);

/* Cuts everything from `to` on (a batch boundary, first <= to <= tail). What is cut is first copied to
 * data/diverged/NAME-TO-MILLISECONDS/ and fsynced. A sealed file that becomes the last one loses its end record and is
 * the active one again. All marks fall to `to`, of which `moved` is not told. Waits for the disk. *messages: how many
 * were set aside. 0; -ERR_BUSY: a file so large is read and copied on the disk thread first, to be asked for again;
 * -ERR_BAD_RANGE: not a boundary; -ERR_DAMAGED: the file that `to` lies in is damaged below it; -ENOSPC or -errno:
 * there is no copy. After an error nothing is cut. */
int journal_truncate(struct journal *j, uint64_t to, uint64_t *messages);

/* Empties the journal so that it goes on at offset `first`, where a file of the leader begins. What it held is moved to
 * data/diverged/ if `keep`, or else deleted. Marks as above. Waits for the disk. 0; or -errno, and nothing has
 * changed. */
int journal_restart(struct journal *j, uint64_t first, bool keep);

/* -- damage and repair ------------------------------------------------------------------------------------ */

/* The i-th range of offsets that is known to be damaged; false when there are fewer. An empty range: damage that
 * costs no offset. */
bool journal_damage(const struct journal *j, uint32_t i, uint64_t *from, uint64_t *to);

struct file_info {
    uint64_t first, next;
    uint64_t size;                /* in bytes; 0 when the file is missing */
    bool sealed;
    bool has_crc;                 /* it is sealed, and its end record is sound, */
    uint32_t crc;                 /* and states this */
};

/* The file that holds the offset, or that should: a missing one too, for repair_begin. 0; -ERR_GONE; -ERR_BAD_RANGE
 * past the tail; -errno. */
int journal_file(struct journal *j, uint64_t offset, struct file_info *out);

/* Reads the sealed file that begins with `first` from the disk itself, on the disk thread, slowly, one at a time for
 * the whole store, and tells `done` on the loop thread: 0; -ERR_DAMAGED, and what is damaged is noted; -ERR_GONE:
 * removed meanwhile; -ERR_CANCELLED: the journal was closed; -errno. Returns 0 if it has begun; -ERR_BUSY: another is
 * under way; -ERR_GONE: there is no such sealed file. */
int journal_audit(struct journal *j, uint64_t first, void (*done)(void *arg, int rc), void *arg);

/* Appends up to n raw bytes of the sealed file that begins with `first`, from a position on, for a peer that repairs
 * and checks them; none at its end. 0; -ERR_GONE: there is no such sealed file; -ERR_DAMAGED; -errno. */
int journal_read_file(struct journal *j, uint64_t first, uint64_t position, size_t n, struct buf *out);

/* A damaged or missing sealed file is written anew from a peer's bytes: begun, fed, ended. At the end the new file is
 * checked whole (header, every batch, end record, the offsets of the old one, and its checksum if that is left); then
 * the damaged one is kept in data/torn/, the new one takes its name, and the damage is forgotten. Waits for the disk.
 * repair_end frees r, and after an error all is as it was. One at a time for each journal, which may not be closed
 * meanwhile. */
struct repair;
int repair_begin(struct journal *j, uint64_t first, struct repair **out);   /* 0; -ERR_GONE; -ERR_BUSY; -errno */
int repair_add(struct repair *r, slice bytes);                              /* 0; -ERR_TOO_LARGE; -errno */
int repair_end(struct repair *r);   /* 0; -ERR_DAMAGED: not sound; -ERR_DIVERGED: sound, but another file; -errno */
void repair_abort(struct repair *r);

#endif
