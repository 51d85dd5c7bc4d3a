/*
 * Names of things in the data directory. A path is a small value on the stack; the root is bounded by
 * store_open so that every path fits.
 */
#ifndef STORE_DISK_PATH_H
#define STORE_DISK_PATH_H

#include "base/slice.h"

enum {
    PATH_SIZE = 1024,
    ROOT_SIZE_MAX = 640,      /* leaves room for topics/NAME/FILE */
    FILE_DIGITS = 20,         /* as many as 2^64-1 has, so that names sort like offsets */
};

struct path {
    char s[PATH_SIZE];
};

struct path path_of(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* What the name of a file in a topic's directory says it is. */
enum file_kind { FILE_ACTIVE, FILE_SEALED, FILE_INDEX, FILE_OTHER };

extern const char *const file_suffix[FILE_OTHER];

enum file_kind file_name_read(const char *name, uint64_t *first);

#endif
