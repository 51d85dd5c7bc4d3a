/*
 * A range of a file of stored batches, for topic:read with format "records". It is sent from its file by sendfile, or
 * from memory when it is short.
 */
#ifndef SCRIPT_MESSAGE_RECORDS_H
#define SCRIPT_MESSAGE_RECORDS_H

#include "script/message/read_headers.h"
#include "script/vm/memory.h"

struct records {
    struct read_headers headers;
    struct buf bytes;                 /* owned; the range itself, when fd is -1 */
    size_t claimed;                   /* bytes of `bytes` counted by memory_claim */
    int fd;                           /* owned; of the file, or -1 */
    bool sent;                        /* an answer took the bytes or the descriptor */
    uint64_t position, size;          /* in the file */
    uint64_t first, next;             /* offsets of messages */
};

/* Frees the bytes, or closes the file. */
void records_release(struct memory *memory, struct records *r);

#endif
