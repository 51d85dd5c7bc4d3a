/*
 * The directory of one topic, data/topics/NAME, and what all files in it have in common. Segments and jobs of the disk
 * thread are given this, and know no journal.
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
    unsigned jobs;                  /* of the disk thread that use files here, other than group commits. While there are
                                       any, the directory is neither moved nor its journal freed */
};

struct path topic_path(const struct topic_dir *d);
struct path file_path(const struct topic_dir *d, uint64_t first, enum file_kind kind);

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
