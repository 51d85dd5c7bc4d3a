/*
 * A checkpoint tells recovery from which position on it has to read a topic's active file. It is TOPIC/checkpoint, two
 * slots of 128 bytes that are written in turn, so that a torn write leaves the other one.
 *
 * It is written after every CHECKPOINT_EVERY bytes (1 MiB, with which 10 GB in 1,000 topics recover within a third of a
 * second) and at a clean close; small topics have none (ends.h).
 *
 * It states only what has been fdatasynced, and is written without fsync: if an older one is found, recovery reads
 * more. It also states the disk mark, which tells a torn tail from damage.
 */
#ifndef STORE_FORMAT_CHECKPOINT_H
#define STORE_FORMAT_CHECKPOINT_H

#include <stdbool.h>
#include <stdint.h>

struct checkpoint {
    uint64_t sequence;     /* the newer slot has the higher one */
    bool clean;            /* written by a clean close: no batch follows `position` */
    bool origins;          /* some batch of the file below position has one */
    uint32_t file_crc;     /* of the file's bytes below position */
    uint64_t first;        /* names the file */
    uint64_t position;     /* where its next batch begins */
    uint64_t next;         /* that batch's offset */
    uint64_t disk;
    uint64_t stated;       /* the highest mark of the synced set that is known */
    uint64_t epoch;        /* of the last batch */
    int64_t time_ms;
    uint64_t oldest;       /* the topic's first offset: files below it have gone by retention */
};

/* 0; -ENOENT when there is no valid slot; -errno. */
int checkpoint_load(const char *path, struct checkpoint *out);

/* Writes the slot of c->sequence. 0 or -errno. */
int checkpoint_save(const char *path, const struct checkpoint *c);

#endif
