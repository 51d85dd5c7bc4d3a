#include "store/disk/path.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/ensure.h"

const char *const file_suffix[FILE_OTHER] = {".qwal", ".log", ".index", ".senders"};

struct path path_of(const char *fmt, ...)
{
    struct path path;
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(path.s, sizeof path.s, fmt, args);
    va_end(args);
    ENSURE(n >= 0);
    ENSURE((size_t)n < sizeof path.s);
    return path;
}

struct path small_path(const char *root, const char *name)
{
    return path_of("%s/small/%s", root, name);
}

enum file_kind file_name_read(const char *name, uint64_t *first)
{
    if (strlen(name) <= FILE_DIGITS || slice_u64(slice_of(name, FILE_DIGITS), first) < 0)
        return FILE_OTHER;
    for (int kind = 0; kind < FILE_OTHER; kind++)
        if (strcmp(name + FILE_DIGITS, file_suffix[kind]) == 0)
            return (enum file_kind)kind;
    return FILE_OTHER;
}
