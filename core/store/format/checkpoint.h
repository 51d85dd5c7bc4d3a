/*
 * A checkpoint says from where on recovery has to read a topic's active file: TOPIC/checkpoint, two slots of
 * 64 bytes that are written in turn, so that a torn write leaves the other.
 *
 * One is written after each CHECKPOINT_EVERY bytes (1 MiB and not the 16 MB first planned: so 10 GB in 1,000 topics
 * recover within a third of a second) and at an orderly close.
 *
 * It claims only what has been fdatasynced, and is itself written without fsync: an older one costs time, never
 * data. It also remembers the disk mark, which tells a torn tail from damage.
 */
#ifndef STORE_FORMAT_CHECKPOINT_H
#define STORE_FORMAT_CHECKPOINT_H

#include <stdbool.h>
#include <stdint.h>

struct checkpoint {
    uint64_t sequence;     /* the higher one is the newer */
    bool clean;            /* written by an orderly close, with nothing after `position` */
    uint32_t file_crc;     /* of the file's bytes below position */
    uint64_t first;        /* names the file */
    uint64_t position;     /* where its next batch begins */
    uint64_t next;         /* that batch's offset */
    uint64_t disk;
    uint64_t stated;       /* the highest mark of the synced set that is known */
    uint64_t epoch;        /* of the last batch */
    int64_t time_ms;
};

/* 0; -ENOENT when there is no valid slot; -errno. */
int checkpoint_load(const char *path, struct checkpoint *out);

/* Writes the slot of c->sequence. 0 or -errno. */
int checkpoint_save(const char *path, const struct checkpoint *c);

#endif
