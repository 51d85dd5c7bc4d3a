/*
 * The copies that are made of what is cut off: data/diverged/.
 */
#ifndef STORE_DIVERGED_H
#define STORE_DIVERGED_H

#include "store/path.h"
#include "store/segment.h"

struct journal;

/* A name for what begins with this offset that nothing has yet. */
struct path diverged_path(const struct journal *j, uint64_t offset);

/* Keeps what stands in the index-th part from a place on, and all later parts. 0, and it is on the disk; or an error,
 * and nothing is left of it. */
int diverged_keep(struct journal *j, uint32_t index, struct hint at);

#endif
