/*
 * The on-disk format, version 1: byte tables, and functions that read and write single records. doc/format.md describes
 * the same format without C; the golden files in tests/golden check both.
 *
 * All integers are little-endian. A file is a file header, then batches one after the other, then zeros (allocated
 * space) or, in a sealed file, one end record and the end of the file. Nothing in a file depends on the node that has
 * it: sealed files are byte-identical on all nodes.
 *
 * File header, 64 bytes
 *    0  8  magic "LIGNUM\r\n" (a transfer in text mode changes it)
 *    8  2  format version: 1
 *   10  2  size of this header: 64
 *   12  4  CRC-32C of bytes 0 to 11 and 16 to 63
 *   16 16  cluster id
 *   32  8  topic id, epoch part      } epoch and offset of the topic's create
 *   40  8  topic id, offset part     } record in _topics; 0:0 for _topics itself
 *   48  8  first offset of this file
 *   56  8  epoch of its first batch; without a batch, the epoch in which it was begun
 *
 * Batch, 64 bytes and its messages: what one append wrote. It is valid or lost as a whole
 *    0  4  size of the batch in bytes, this header included
 *    4  4  CRC-32C of bytes 8 to size, seeded with the CRC-32C of the expected first offset (8 bytes),
 *          so that a batch in the wrong place fails
 *    8  8  first offset
 *   16  4  count of messages, at least 1 (0 in an end record)
 *   20  2  flags: 1 = end record; 2 = the mark at 40 is that of the synced set; 4, in an end record: some batch of the
 *          file has an origin; others 0
 *   22  2  size of the origin (origin.h), 0 when there is none
 *   24  8  epoch of the leader that appended it
 *   32  8  timestamp, milliseconds since 1970 UTC; never falls within a topic
 *   40  8  a mark that was known when it was written: everything below it was on the leader's disk, or with flag 2 on
 *          the disk of every member of the synced set
 *   48  8  producer epoch, 0 when unused
 *   56  8  producer sequence, 0 when unused
 *   64     origin, messages
 *
 * Message, 8 bytes and its parts
 *    0  4  size of the payload
 *    4  2  size of the key, 65535 = no key
 *    6  2  size of the headers
 *    8     key, headers, payload
 *   Headers are pairs: 2 bytes size of name, 2 bytes size of value, name, value.
 *
 * End record: a batch header with flag 1 (and 4), count 0, first offset = next offset of the file, the timestamp and
 * epoch of the last batch, and 0 in all other fields, so that writing it again gives the same bytes; and 8 bytes after
 * it:
 *   64  4  CRC-32C of all bytes of the file before the end record
 *   68  4  0
 *
 * To change the format: 1. raise FORMAT_VERSION; 2. change the tables here and in doc/format.md; 3. keep reading every
 * older version, chosen by the file header; 4. add a golden file of the new version and keep the old ones; 5. add a
 * line to CHANGELOG.md.
 */
#ifndef STORE_FORMAT_RECORD_H
#define STORE_FORMAT_RECORD_H

#include "base/buf.h"
#include "base/id.h"
#include "base/limits.h"

enum {
    FORMAT_VERSION = 1,
    FILE_HEAD_SIZE = 64,
    BATCH_HEAD_SIZE = 64,
    MESSAGE_HEAD_SIZE = 8,
    END_RECORD_SIZE = BATCH_HEAD_SIZE + 8,
    BATCH_FLAG_END = 1,
    BATCH_FLAG_PEERS = 2,
    BATCH_FLAG_ORIGINS = 4,
    KEY_NONE = 0xffff,
    ORIGIN_SIZE_MAX = 256,
    BATCH_BYTES_MAX = BATCH_HEAD_SIZE + ORIGIN_SIZE_MAX + BATCH_SIZE_MAX,
};

/* Epoch and offset of the create record; {0, 0} is _topics. */
struct topic_id {
    uint64_t epoch, offset;
};

struct file_head {
    struct id cluster;
    struct topic_id topic;
    uint64_t first;
    uint64_t epoch;
};

struct batch_head {
    uint32_t size;     /* of the whole batch */
    uint32_t crc;
    uint64_t first;
    uint32_t count;
    uint16_t flags;
    uint16_t origin;   /* size of its origin; 0: none */
    uint64_t epoch;
    int64_t time_ms;
    uint64_t disk;
    uint64_t producer_epoch;
    uint64_t sequence;
};

struct message {
    slice key;         /* key.p == NULL: no key */
    slice headers;     /* encoded pairs */
    slice payload;
};

void file_head_write(unsigned char out[FILE_HEAD_SIZE], const struct file_head *head);

/* 0; -ERR_FORMAT: another magic, or a newer version (*version is it then); -ERR_DAMAGED: bad checksum. */
int file_head_read(const unsigned char in[FILE_HEAD_SIZE], struct file_head *head, unsigned *version);

/* Is this the header of an end record? */
static inline bool batch_is_end(const struct batch_head *head)
{
    return head->flags & BATCH_FLAG_END;
}

/* The encoded messages of a batch with these bytes. */
static inline slice batch_messages(const char *in, const struct batch_head *head)
{
    size_t before = BATCH_HEAD_SIZE + (size_t)head->origin;
    return slice_of(in + before, head->size - before);
}

/* Writes the header at `out`, with its checksum: the head->size - 64 bytes after it are there already. Sets
 * head->crc. */
void batch_head_write(char *out, struct batch_head *head);

/* Reads a header from at least BATCH_HEAD_SIZE bytes, and checks that its numbers are possible, but not the checksum. 0
 * or -ERR_DAMAGED. */
int batch_head_read(const char *in, struct batch_head *head);

/* Whether the checksum of these head->size bytes is right, for a batch that begins with this offset. */
bool batch_valid(const char *in, const struct batch_head *head, uint64_t expected_first);

/* The checksum of a file that had `crc` before this valid batch. For a large batch it is computed from the batch's own
 * checksum, without its bytes. */
uint32_t batch_crc_after(uint32_t crc, const char *in, const struct batch_head *head);

/* Appends one encoded message to out. The caller has checked the sizes against limits.h. */
void message_write(struct buf *out, const struct message *m);

/* Takes one message off the front of *rest. 0, or -ERR_DAMAGED when its sizes do not fit. */
int message_read(slice *rest, struct message *out);

/* Appends one header pair to an encoded list of headers. */
void header_write(struct buf *out, slice name, slice value);

/* Takes one pair off the front of *rest; false at the end (or where sizes do not fit). */
bool header_read(slice *rest, slice *name, slice *value);

enum { HEADER_SIZES = 4 };             /* bytes in front of each pair: the sizes of name and value */

/* The value of the first header with this name; p == NULL: there is none. */
slice header_named(slice headers, slice name);

/* An end record for a file whose bytes so far have this checksum. like->flags: BATCH_FLAG_ORIGINS, or 0. */
void end_record_write(char out[END_RECORD_SIZE], const struct batch_head *like, uint32_t file_crc);

/* The file checksum that a valid end record states. */
uint32_t end_record_file_crc(const char in[END_RECORD_SIZE]);

#endif
