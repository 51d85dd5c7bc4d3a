/*
 * An error as application/problem+json (RFC 9457).
 */
#ifndef SCRIPT_HTTP_PROBLEM_H
#define SCRIPT_HTTP_PROBLEM_H

#include "base/buf.h"

struct problem {
    int rc;
    slice detail;                     /* n == 0: the code's own sentence */
    const char *id;                   /* under which the log has more of it; NULL: it has not */
    uint64_t limit;                   /* the limit that was exceeded; 0: none */
    bool appended;                    /* something may have been stored all the same */
};
void problem_render(struct buf *out, const struct problem *p);

#endif
