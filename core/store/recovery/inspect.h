/*
 * The reading half of recovery: what each file without an end record holds, and up to which offset messages were
 * acknowledged.
 */
#ifndef STORE_RECOVERY_INSPECT_H
#define STORE_RECOVERY_INSPECT_H

#include "store/log/journal_struct.h"

/* A log file in the topic's directory. */
struct found_file {
    uint64_t first, size;
    bool sealed;                 /* .log: it is not inspected */
    struct segment *segment;     /* of a .qwal, from its inspection until it is one of the journal's parts; owned */
    int end;                     /* a scan_found: what follows its last valid batch */
    bool headless;               /* its header is zeros or damaged */
    bool epoch_falls;            /* a sound batch of a lower epoch follows */
};

struct recovery {
    struct journal *journal;
    struct found_file *files;    /* owned, in order */
    size_t count;
    bool linked;                 /* one of them has a second name */
    bool has_checkpoint;
    struct checkpoint checkpoint;
    uint64_t disk;               /* D of recover.h */
    uint64_t stated;             /* the highest mark of the synced set that a batch states, of any epoch */
    uint64_t tail;               /* of the history so far */
};

bool is_last_file(const struct recovery *r, const struct found_file *f);

/* Inspects all .qwal files. 0 or an error. */
int recovery_inspect(struct recovery *r);

#endif
