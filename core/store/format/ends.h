/*
 * data/ends: where the small topics ended when the store was last closed, for all of them in one file. A start takes a
 * topic from there whose file has not changed since, without reading it. Of the others, which are read, the entry says
 * up to where they were on the disk, as TOPIC/checkpoint does of larger ones.
 *
 * It is derived, and written without fsync, as checkpoints are. A topic with a checkpoint of its own is not taken from
 * here: that one is newer.
 *
 * In the byte order of the machine: on another one the checksum is wrong, and files are read.
 */
#ifndef STORE_FORMAT_ENDS_H
#define STORE_FORMAT_ENDS_H

#include "base/buf.h"
#include "base/id.h"
#include "store/format/record.h"

/* Of a topic with one file, or none (size 0), all of it synced, and nothing damaged. */
struct topic_end {
    struct topic_id id;
    uint64_t first, next;        /* of the file; next is also the topic's tail and its disk mark */
    uint64_t stated;             /* the highest mark of the synced set that is known */
    uint64_t epoch;              /* of the last batch */
    int64_t time_first, time_last;
    uint64_t file_changed, dir_changed;   /* when their inodes last changed (st_ctim), in nanoseconds; 0: so shortly
                                             before that another change might not show, or no directory */
    uint32_t size;               /* of the file */
    uint32_t position;           /* where its next batch begins */
    uint32_t crc;                /* of the file's bytes below position */
    uint8_t origins;             /* some batch of it has one */
    uint8_t name_size;           /* the topic's name follows, and zeros up to a multiple of 8 */
    uint8_t small;               /* the file is data/small/NAME, and there is no directory */
    uint8_t unused;
};

/* While they are gathered. A zeroed one is empty. */
struct ends_writer {
    struct buf entries;
    uint64_t *places;            /* owned; where each begins in `entries` */
    size_t count, cap;
};

void ends_add(struct ends_writer *w, slice name, const struct topic_end *end);
void ends_writer_fini(struct ends_writer *w);

/* Replaces the file at `path` by one with these entries, of this cluster. 0 or -errno; then there is none. */
int ends_write(struct ends_writer *w, const char *path, const struct id *cluster);

/* The file, mapped. */
struct ends;

/* NULL: there is none that is valid. */
struct ends *ends_open(const char *path, const struct id *cluster);
void ends_close(struct ends *e);

/* The names that it has, in order: the i-th; false past the end. */
bool ends_name(const struct ends *e, size_t i, slice *name);

/* The entry of a topic of this name; or NULL, as when e is. It is good until ends_close. */
const struct topic_end *ends_find(const struct ends *e, slice name);

/* A topic of this name is open: its end is noted again when it is closed. e may be NULL. */
void ends_note_opened(struct ends *e, slice name);

/* Adds the entries of topics that were not opened, and so have not changed since. e may be NULL. */
void ends_keep(const struct ends *e, struct ends_writer *w);

#endif
