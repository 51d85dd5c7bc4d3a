/*
 * Names in the data directory. A path is a value on the stack; store_open bounds the length of the root, so that every
 * path fits.
 */
#ifndef STORE_DISK_PATH_H
#define STORE_DISK_PATH_H

#include "base/slice.h"

enum {
    PATH_SIZE = 1024,
    ROOT_SIZE_MAX = 640,      /* leaves room for topics/NAME/FILE */
    FILE_DIGITS = 20,         /* as many as 2^64-1 has, so that names sort as their offsets do */
};

struct path {
    char s[PATH_SIZE];
};

struct path path_of(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* The file of a small topic (log/topic_dir.h). */
struct path small_path(const char *root, const char *name);

/* The kinds of files in a topic's directory that are named after an offset. */
enum file_kind { FILE_ACTIVE, FILE_SEALED, FILE_INDEX, FILE_SENDERS, FILE_OTHER };

extern const char *const file_suffix[FILE_OTHER];

/* The kind of the file with this name, and the offset in the name. */
enum file_kind file_name_read(const char *name, uint64_t *first);

#endif
