/*
 * Which offsets of a topic a group has settled: all below the cursor, and ranges above it.
 *
 * The ranges are sorted, and neither touch each other nor the cursor. A range costs 16 bytes.
 */
#ifndef BROKER_GROUP_SETTLED_H
#define BROKER_GROUP_SETTLED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct range {
    uint64_t from, to;            /* [from, to) */
};

struct settled {
    uint64_t cursor;              /* every offset below it is settled */
    struct range *at;             /* owned; the ranges are at[head] to at[head + count - 1] */
    size_t head, count, cap;
    uint64_t above;               /* settled offsets above the cursor */
};

void settled_fini(struct settled *s);

/* Forgets all ranges and sets the cursor. */
void settled_reset(struct settled *s, uint64_t cursor);

void settled_add(struct settled *s, uint64_t from, uint64_t to);
bool settled_has(const struct settled *s, uint64_t offset);

/* The first offset from this one on that is not settled. */
uint64_t settled_next(const struct settled *s, uint64_t offset);

/* Forgets everything from this offset on. */
void settled_cut(struct settled *s, uint64_t to);

#endif
