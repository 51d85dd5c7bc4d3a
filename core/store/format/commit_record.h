/*
 * A file of the commit log, data/commit/0.log or 1.log: a copy of what several topics were given at the same time, made
 * durable by one sync (doc/format.md). It is a node's own; its bytes are in the topics' files, too.
 *
 * Head, 4096 bytes: this at 0 and again at 2048, the rest zeros
 *    0  8  magic "LIGNUMCL"
 *    8  2  version: 1
 *   10  2  1: in use; 0: free, what follows counts no more
 *   12  4  CRC-32C of bytes 0 to 11 and 16 to 63
 *   16 16  cluster id
 *   32 16  incarnation of the node
 *   48  8  number of this use: files in use are read in its order
 *   56  8  seed of this use, random
 *
 * Frame, at a multiple of 64: what one group commit made durable
 *    0  4  magic "FRAM"
 *    4  4  size of the frame in bytes, this head included
 *    8  4  CRC-32C of the file's seed (8 bytes), the frame's place in the file (8), and bytes 0 to 7 and 12 to size
 *   12  4  count of records
 *   16     records
 *
 * Record, a multiple of 8
 *    0  4  size of the record in bytes, this head included
 *    4  4  count of bytes
 *    8  2  size of the topic's name
 *   10  6  0
 *   16 16  topic id: epoch, offset
 *   32  8  first offset of the topic's file
 *   40  8  place of the bytes in that file
 *   48     bytes, name, zeros
 */
#ifndef STORE_FORMAT_COMMIT_RECORD_H
#define STORE_FORMAT_COMMIT_RECORD_H

#include "store/format/record.h"

enum {
    COMMIT_VERSION = 1,
    COMMIT_HEAD_SIZE = 4096,
    COMMIT_FILES = 2,
    FRAME_ALIGN = 64,
    FRAME_HEAD_SIZE = 16,
    COMMIT_RECORD_HEAD_SIZE = 48,
};

struct commit_head {
    bool in_use;
    struct id cluster, incarnation;
    uint64_t use, seed;
};

struct commit_record {
    slice topic;              /* its name */
    struct topic_id id;
    uint64_t first, position;
    slice bytes;
};

/* A frame that is being read. */
struct commit_frame {
    uint32_t size, count;
    slice rest;               /* records that were not read yet */
};

void commit_head_write(char out[COMMIT_HEAD_SIZE], const struct commit_head *head);

/* By the first copy that is sound; a head of zeros is that of a free file. 0; -ERR_FORMAT: another magic or a newer
 * version; -ERR_DAMAGED. */
int commit_head_read(const char in[COMMIT_HEAD_SIZE], struct commit_head *out);

/* Frames are built in a buffer: commit_frame_begin, commit_frame_add for each record, commit_frame_finish. */
void commit_frame_begin(struct buf *out);

/* What a record with n bytes will take. */
size_t commit_record_size(slice topic, size_t n);

/* Adds a record without its bytes, of which only the count is used: they are to be written to the address that is
 * returned before the buffer is used again. */
char *commit_frame_add(struct buf *out, const struct commit_record *r);

/* `place`: where in the file it will be. */
void commit_frame_finish(struct buf *frame, uint32_t count, uint64_t seed, uint64_t place);

/* Whether a frame of this use begins here, whole and sound. */
bool commit_frame_read(slice in, uint64_t seed, uint64_t place, struct commit_frame *out);

/* False at the end of the frame. */
bool commit_frame_next(struct commit_frame *f, struct commit_record *out);

static inline uint64_t commit_frame_space(uint64_t size)
{
    return (size + FRAME_ALIGN - 1) / FRAME_ALIGN * FRAME_ALIGN;
}

#endif
