/*
 * A journal is the messages of one topic on this node's disk: a directory of files in order of their offsets, the last
 * of which is written.
 *
 * The way of a batch: journal_append puts it into memory, and `tail` rises; store_flush writes it to the file, and
 * `written` rises; store_sync hands the file to the disk thread, and when the sync is done store_collect raises `disk`.
 * While many topics are written, store_flush leaves small batches in memory, store_sync hands them to the commit log,
 * and both marks rise when that is synced; the file gets them later (write.h).
 * A journal knows nothing of Lua, sockets or replication; its owner is told of its movements by store_options.moved.
 *
 * A journal is opened by recovery/open.h. All calls are made on the loop thread. Reads go through the page cache, and
 * wait for the disk where that does not have the bytes. Nothing else here waits for the disk, unless stated.
 */
#ifndef STORE_LOG_JOURNAL_H
#define STORE_LOG_JOURNAL_H

#include "store/senders/senders.h"

struct store;
struct journal;

enum durability { DURABILITY_COMMIT, DURABILITY_INTERVAL, DURABILITY_OS };

struct journal_options {
    struct topic_id id;
    uint64_t segment_messages;    /* a file is sealed when it holds this many messages, */
    uint64_t segment_bytes;       /* or this many bytes, */
    int64_t segment_age_ms;       /* or its first batch is this old at the next append; 0 = never */
    enum durability durability;
    bool written_at_once;         /* `written` rises before the sync, because followers are sent what is below it */
    int64_t dedupe_age_ms;        /* an idempotency key is remembered for so long, */
    uint64_t dedupe_keys;         /* and so many of them */
};

/* Closes it, after syncing what is not synced yet. */
void journal_close(struct journal *j);

/* Closes it, and has its directory moved to trash/ and deleted: as soon as no job works on it, which may be later. An
 * error is logged. */
void journal_delete(struct journal *j);

/* Sets the options of files begun from now on. After a change of durability the next group commit syncs what was
 * appended, whatever the new one is. */
void journal_set_options(struct journal *j, const struct journal_options *o);

/* Writes what was appended to the file: `written` is the tail afterwards, and the owner is told. */
void journal_flush(struct journal *j);

/* Sets the owner that store_options.moved is called with; NULL: it is not called. */
void journal_set_owner(struct journal *j, void *owner);

/* While no producer waits for a journal, its syncs can be deferred to the interval, as under durability `interval`: a
 * follower that catches up would otherwise cost everything on its disk a sync for each piece. When this ends, the next
 * group commit syncs what was deferred. */
void journal_defer_sync(struct journal *j, bool defer);

/* -- appending -- */

struct append {
    slice messages;               /* as message_write encodes them, one after the other */
    uint32_t count;
    uint64_t epoch;
    int64_t time_ms;              /* raised to that of the last batch, unless it is lower by more than DATES_FALL_MS */
    struct origin origin;
    bool has_stated;              /* the batch states the mark below; otherwise the disk mark */
    uint64_t stated;
};

/* Appends one batch in memory. 0 and its first offset; -ENOSPC: no space can be allocated for it, and nothing has
 * changed; -ERR_STORAGE: store_is_lost; -ERR_BUSY: a truncation of its file has not ended on the disk yet;
 * -ERR_TOO_LARGE past BATCH_SIZE_MAX or BATCH_COUNT_MAX. */
int journal_append(struct journal *j, const struct append *a, uint64_t *first);

/* What a request with this origin is to the log now (store/senders). Reads back what the log says of its senders, if
 * that is not in memory yet, and waits for the disk then. 0 or -errno. */
int journal_sent(struct journal *j, const struct origin *o, int64_t now_ms, struct sent *out);

/* The last epoch and sequence of the producer o->name, into *o. 1; 0: the journal does not know it; -errno. */
int journal_last_sent(struct journal *j, struct origin *o, int64_t now_ms);

/* Appends to `out` what the log says of its senders up to `offset`, and nothing where it knows none: a snapshot of
 * store/senders. 0 or -errno. */
int journal_senders_at(struct journal *j, uint64_t offset, struct buf *out);

/* The same of the leader's log, up to the offset at which this one begins: it has no batch yet. Waits for the disk. 0;
 * -ERR_DIVERGED: it has batches; -ERR_DAMAGED: that is no such snapshot; -errno. */
int journal_take_senders(struct journal *j, slice snapshot);

/* Records that every member of the synced set has everything below `mark`. The next checkpoint keeps it, as it keeps
 * what batches state. `now`: that checkpoint is written at once, unless something has yet to be synced. */
void journal_note_stated(struct journal *j, uint64_t mark, bool now);

/* -- reading -- */

/* Appends whole verified batches that hold offsets in [from, to) to `out`: at least one, if there is one below
 * `written`, and after the first no more than bytes_max. *next is the offset after the last one (`from` if none). The
 * first batch may begin below `from` and the last one may end past `to`: batches are not divided.
 * 0; -ERR_GONE below the first offset; -ERR_DAMAGED where stored bytes are not valid; -errno. */
int journal_read(struct journal *j, uint64_t from, uint64_t to, size_t bytes_max, struct buf *out,
                 uint64_t *next);

/* The same as a range of one file, for sendfile. Only headers are checked: checksums are left to the reader. A small
 * range is read at once, because copying it costs less than the descriptor and sendfile do. The caller closes fd and
 * frees bytes. */
struct file_range {
    int fd;                       /* -1: its bytes are in `bytes` */
    struct buf bytes;
    uint64_t position, size;
    uint64_t first, next;
    uint64_t epoch;               /* of its last batch, if that is the file's last epoch; otherwise 0: not known */
};
int journal_range(struct journal *j, uint64_t from, uint64_t to, size_t bytes_max, struct file_range *out);

/* The offset of the first batch with a timestamp of at least time_ms; the tail when all are older. Where dates fall
 * from one file to the next because a leader's clock was wrong, such a batch after which none is older, as far as the
 * files say that are looked at. 0 or an error. */
int journal_at_time(struct journal *j, int64_t time_ms, uint64_t *offset);

struct journal_info {
    uint64_t first, tail, written, disk;
    uint64_t bytes;               /* of records, without space that is only allocated */
    uint32_t segments;
    uint32_t damaged;             /* ranges that are known to be damaged */
    int64_t last_time_ms;
    uint64_t stated;              /* the highest mark of the synced set that is known; 0: none */
    uint64_t epoch;               /* of the last batch; 0 when there is none */
};
void journal_info(const struct journal *j, struct journal_info *out);

/* The first offset of the active file; the tail when there is none. */
uint64_t journal_active_first(const struct journal *j);

/* -- files -- */

/* What retention keeps; 0 = no bound. */
struct retain {
    int64_t age_ms;
    uint64_t bytes;
    uint64_t messages;
    uint64_t passed;              /* messages below this offset need not be kept, whatever the bounds; 0: none */
};

/* The date of the last batch, plus the time that has passed since it was added, or the journal opened. */
int64_t journal_date(const struct journal *j);

/* Has the disk thread delete sealed files that retention no longer keeps: whole files, the oldest first, and none with
 * messages from `readable` on, which no reader could see yet. The number of files. */
int journal_apply_retention(struct journal *j, const struct retain *keep, int64_t now_ms, uint64_t readable);

struct file_info {
    uint64_t first, next;
    uint64_t size;                /* in bytes; 0 when the file is missing */
    bool sealed;
    bool has_crc;                 /* it is sealed, and its end record is sound */
    uint32_t crc;                 /* which states this checksum */
};

/* The file that holds the offset, or should hold it: a missing file too, for repair_begin. 0; -ERR_GONE; -ERR_BAD_RANGE
 * past the tail; -errno. */
int journal_file(struct journal *j, uint64_t offset, struct file_info *out);

/* Appends up to n raw bytes of the sealed file that begins with `first`, from a position on, for a peer that repairs
 * its own and checks them; none at the end of the file. 0; -ERR_GONE: there is no such sealed file; -ERR_DAMAGED;
 * -errno. */
int journal_read_file(struct journal *j, uint64_t first, uint64_t position, size_t n, struct buf *out);

/* The i-th range of offsets that is known to be damaged; false when there are fewer. An empty range is damage that
 * costs no offset. */
bool journal_damage(const struct journal *j, uint32_t i, uint64_t *from, uint64_t *to);

/* Files at the beginning were removed while the node was stopped, and not by retention: from *from up to the first
 * offset. Readers see a journal that begins later. Until retention removes more, they are fetched from a leader
 * (recovery/repair.h), or are forgotten because the leader does not have them either: then the
 * last checkpoint states the present first offset. */
bool journal_lacks(const struct journal *j, uint64_t *from);
void journal_forget_lacking(struct journal *j);

/* Treats a whole sealed file as damaged: it is sound, and not what the other nodes have. 0; -ERR_GONE: no sealed file
 * begins there. */
int journal_refuse_file(struct journal *j, uint64_t first);
bool journal_refuses(const struct journal *j, uint64_t offset);

#endif
