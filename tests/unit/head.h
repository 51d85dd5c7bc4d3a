/* A header of a parsed head, for tests. */
#ifndef UNIT_HEAD_H
#define UNIT_HEAD_H

#include "net/http_parse.h"

/* The value of its first line, or p == NULL. */
static inline slice http_head_find(const struct http_head *head, slice name)
{
    size_t i = http_head_next(head, name, 0);
    return i < head->header_count ? head->headers[i].value : slice_of(NULL, 0);
}

#endif
