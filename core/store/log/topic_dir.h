/*
 * Where the files of one topic are, and what all of them have in common. Segments and jobs of the disk thread are given
 * this, and know no journal.
 *
 *   small    data/small/NAME is its file, which begins at offset 0 and is written; until the first append there is
 *            none. So a topic begins, and a million of them cost one directory. Nothing else of it is on the disk
 *   own      its files are in data/topics/NAME/. journal_own_dir moves a small topic there before anything is made that
 *            lies beside its file: a second file, a checkpoint, a snapshot of its senders, what a truncation or repair
 *            makes. It does not become small again
 *
 * A rename moves the file, so that at any time it has one name or, where a crash undid it, the other one. An opening
 * that finds data/small/NAME beside data/topics/NAME/ finishes the move.
 */
#ifndef STORE_LOG_TOPIC_DIR_H
#define STORE_LOG_TOPIC_DIR_H

#include "store/disk/disk.h"
#include "store/format/record.h"
#include "store/log/index_cache.h"

struct topic_dir {
    struct disk *disk;              /* outlives us */
    struct index_cache *indexes;    /* outlives us */
    const char *name;               /* the topic's; outlives us */
    struct topic_id id;             /* in the header of each file */
    bool small;
    unsigned jobs;                  /* of the disk thread that use files here, other than group commits. While there are
                                       any, the directory is neither moved nor its journal freed */
};

/* The topic's own directory, whether or not it has one. */
struct path topic_path(const struct topic_dir *d);

/* The directory that its written file is in: its own, or data/small. */
struct path topic_folder(const struct topic_dir *d);

/* A small topic has one file, the written one that begins at 0. */
struct path file_path(const struct topic_dir *d, uint64_t first, enum file_kind kind);

/* Moves the file of a small topic, if it has one, into a directory of its own; also one that has been begun. Nothing is
 * fsynced. 0; -ERR_TOPIC_EXISTS: there is another such file, and nothing is done; -errno. */
int small_move(const struct disk *disk, const char *name);

/* The header of a file of this topic. */
struct file_head file_head_of(const struct topic_dir *d, uint64_t first, uint64_t epoch);

/* Checks the header of a file that should be this topic's and begin with offset `first`. 0; -ERR_FORMAT: another
 * cluster's or format version's; -ERR_TOPIC_EXISTS: another topic's; -ERR_DAMAGED: its checksum or offset is wrong. */
int file_head_check(const struct topic_dir *d, const char *in, uint64_t first);

/* Whether a file's first FILE_HEAD_SIZE bytes are this header, with whatever epoch. On any thread. */
bool file_head_is(const struct file_head *want, const char *in);

/* Whether this error of opening a file says that its bytes are wrong, and not that reading them failed. */
bool is_file_damage(int rc);

#endif
