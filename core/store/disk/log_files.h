/*
 * The files of one topic's log, for commands that read it beside the node that writes it, or without
 * one. A file may be sealed, which renames it, or removed by retention at any time.
 */
#ifndef STORE_DISK_LOG_FILES_H
#define STORE_DISK_LOG_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct log_files {
    const char *folder;           /* the topic's directory; outlives us */
    const char *small;            /* its file while it is small; outlives us. NULL: it cannot be */
    uint64_t *firsts;             /* owned: the first offsets, in order */
    size_t count;
};

/* 0 or -errno: -ENOENT where there is neither. log_files_fini follows in both cases. */
int log_files_list(struct log_files *l, const char *folder, const char *small);
void log_files_fini(struct log_files *l);

/* The descriptor of number i, or -errno. */
int log_files_open(const struct log_files *l, size_t i, bool *sealed);

#endif
