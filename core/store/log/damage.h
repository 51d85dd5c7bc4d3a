/*
 * Ranges of offsets that cannot be read: a scan's list of what it found, or a journal's of what is known.
 *
 * An empty range [N, N) stands for damage that costs no offset, such as a wrong file header or a missing end record.
 */
#ifndef STORE_LOG_DAMAGE_H
#define STORE_LOG_DAMAGE_H

#include <stdbool.h>
#include <stdint.h>

struct damaged_range {
    uint64_t from, to;
    bool refused;
};

/* A zeroed one is empty. No range lies within another one. */
struct damage {
    struct damaged_range *ranges;     /* owned */
    uint32_t count;
    uint32_t *total;                  /* of all journals, kept up to date; or NULL */
};

void damage_fini(struct damage *d);

/* A range that is sound and refused all the same: there is to be another file in its place. Known ranges within it are
 * forgotten. */
void damage_refuse(struct damage *d, uint64_t from, uint64_t to);

/* Whether this offset is refused. */
bool damage_refuses(const struct damage *d, uint64_t offset);

/* False: the range is known already. */
bool damage_add(struct damage *d, uint64_t from, uint64_t to);

/* Forgets all but the parts of ranges that lie within [from, to). */
void damage_keep(struct damage *d, uint64_t from, uint64_t to);

/* Forgets the parts of ranges that lie within [from, to). */
void damage_drop(struct damage *d, uint64_t from, uint64_t to);

#endif
