/*
 * Walking through the batches of one file with every checksum looked at: recovery, verify, dump and the fuzz
 * target all walk with this, so there is one opinion on what a valid file is.
 *
 * It reads through its own buffer and not through mmap, because a bad sector then is an error code and not a
 * signal; and the same buffer serves O_DIRECT.
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
    uint64_t size;         /* of the file, without space taken ahead at its end */
};

/* A zeroed one is ready for it, and so is one that has read another file: its buffer is used again. 0 or -errno. */
int reader_init(struct reader *r, int fd);
void reader_fini(struct reader *r);

/* Points *p at the bytes from `position` on: at least n of them, or all there are to the end of the file, whose number
 * is returned; or -errno. They stay until the next call. */
ssize_t reader_get(struct reader *r, uint64_t position, size_t n, const char **p);

struct scan {
    uint64_t position;     /* where the next batch is expected */
    uint64_t next;         /* and with which offset */
    uint64_t epoch;        /* of the last batch; later ones must not have a lower one */
    int64_t time_ms;
    uint32_t crc;          /* of all bytes before position */
    bool broken;           /* bytes were skipped, so crc means nothing */
    uint64_t fallen;       /* SCAN_BAD was a sound batch of a lower epoch, and this is the offset after it; else 0 */
};

/* At the first batch of a file that begins with this offset. 0 or -errno. */
int scan_begin(struct reader *r, uint64_t first, struct scan *s);

enum scan_found {
    SCAN_BATCH,            /* a valid one; *head and *bytes are it */
    SCAN_SEALED,           /* a valid end record */
    SCAN_END,              /* zeros, or the end of the file */
    SCAN_BAD,              /* neither */
};

/* One step: past the batch found, and not past anything else. A scan_found, or -errno. */
int scan_next(struct reader *r, struct scan *s, struct batch_head *head, const char **bytes);

/* After SCAN_BAD: goes to the next valid batch or end record with a higher offset, wherever it begins: 1, and s
 * stands there; 0 when there is none, and s is unchanged; or -errno. */
int scan_resync(struct reader *r, struct scan *s);

/* The position after the last byte that is not zero, at least `from`; or -errno in *end's place. */
int reader_last_byte(struct reader *r, uint64_t from, uint64_t *end);

#endif
