#include "base/err.h"

#include <errno.h>
#include <string.h>

#include "base/ensure.h"

enum { NO, YES };  /* the words of the table */

struct entry {
    const char *name;
    const char *sentence;
    int status;
    bool retryable;
};

static const struct entry entries[] = {
#define X(code, name, status, retry, sentence) {name, sentence, status, retry},
    ERR_TABLE(X)
#undef X
};

enum { FIRST = ERR_NONE + 1, COUNT = ERR_END - FIRST };
_Static_assert(sizeof entries / sizeof entries[0] == COUNT, "the enum and the table are one list");

static bool is_ours(int rc)
{
    return rc <= -FIRST && rc > -ERR_END;
}

static const struct entry *entry_of(int rc)
{
    ENSURE(rc < 0);
    if (rc == -ENOSPC)
        rc = -ERR_NO_SPACE;
    return &entries[(is_ours(rc) ? -rc : ERR_INTERNAL) - FIRST];
}

const char *err_name(int rc)
{
    return entry_of(rc)->name;
}

const char *err_sentence(int rc)
{
    return is_ours(rc) || rc == -ENOSPC ? entry_of(rc)->sentence : strerror(-rc);
}

int err_status(int rc)
{
    return entry_of(rc)->status;
}

bool err_retryable(int rc)
{
    return entry_of(rc)->retryable;
}
