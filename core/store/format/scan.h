/*
 * Reading all batches of one file and checking every checksum. Recovery, audits, verify, dump and the fuzz target use
 * this, so that one piece of code decides what a valid file is.
 *
 * It reads through a buffer of its own and not through mmap: a bad sector is then an error code and not a signal, and
 * the buffer can be used with O_DIRECT.
 */
#ifndef STORE_FORMAT_SCAN_H
#define STORE_FORMAT_SCAN_H

#include <sys/types.h>

#include "store/format/record.h"

struct reader {
    int fd;                /* borrowed */
    char *data;            /* owned, aligned for O_DIRECT */
    size_t cap, n;
    uint64_t at;           /* the position of data[0] */
    uint64_t size;         /* of the file, without space at its end that is only allocated */
};

/* Begins with a file. *r is zeroed, or has read another file: then its buffer is used again. 0 or -errno. */
int reader_init(struct reader *r, int fd);
void reader_fini(struct reader *r);

/* Points *p at the bytes from `position` on, and returns their number: at least n, unless the file ends before; or
 * -errno. They are good until the next call. */
ssize_t reader_get(struct reader *r, uint64_t position, size_t n, const char **p);

struct scan {
    uint64_t position;     /* where the next batch is expected */
    uint64_t next;         /* and with which offset */
    uint64_t epoch;        /* of the last batch; later ones must not have a lower one */
    int64_t time_ms;
    uint32_t crc;          /* of all bytes before position */
    bool origins;          /* some batch so far has one */
    bool broken;           /* bytes were skipped, so that crc and origins are not those of the file */
    uint64_t older_next;   /* SCAN_BAD was a sound batch of a lower epoch: the offset after it; otherwise 0 */
};

/* Begins before the first batch of a file that begins with this offset. 0 or -errno. */
int scan_begin(struct reader *r, uint64_t first, struct scan *s);

enum scan_found {
    SCAN_BATCH,            /* a valid batch: *head and *bytes */
    SCAN_SEALED,           /* a valid end record */
    SCAN_END,              /* zeros, or the end of the file */
    SCAN_BAD,              /* neither */
};

/* Says what comes next, and goes past it if it is a batch. A scan_found, or -errno. */
int scan_next(struct reader *r, struct scan *s, struct batch_head *head, const char **bytes);

/* After SCAN_BAD: goes to the next valid batch or end record with a higher offset, at whatever position. 1; 0 when
 * there is none, and s is unchanged; or -errno. */
int scan_resync(struct reader *r, struct scan *s);

/* *end: the position after the last byte that is not zero, or `from` where only zeros follow. 0 or -errno. */
int reader_last_byte(struct reader *r, uint64_t from, uint64_t *end);

#endif
