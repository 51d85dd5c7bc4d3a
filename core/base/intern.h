/*
 * Interning: equal values that many owners have are kept once. A value is in its pool while it has a user.
 */
#ifndef BASE_INTERN_H
#define BASE_INTERN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/list.h"

typedef bool intern_equal_fn(const void *a, const void *b);

struct intern_pool {
    struct list values;          /* the last used at the end */
    size_t size;                 /* of a value, in bytes */
    intern_equal_fn *equal;
};

void intern_init(struct intern_pool *p, size_t size, intern_equal_fn *equal);

/* The value that is kept for all that equal this one; it does not change, and is good until intern_release. Only the
 * last used 16 are compared, so a pool of many values may have equal ones. */
const void *intern(struct intern_pool *p, const void *value);

/* Once for each intern; NULL does nothing. */
void intern_release(const void *value);

#endif
