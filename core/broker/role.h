/*
 * Whether this node leads, follows or is alone, and in which epoch.
 *
 * Alone (no Consul configured) it leads from the start, its epoch counted in data/state: an epoch never outlives its
 * process, so every start takes a new one, fsynced before it is used.
 */
#ifndef BROKER_ROLE_H
#define BROKER_ROLE_H

#include "store/store.h"

enum role_kind { ROLE_ALONE };

struct role {
    enum role_kind kind;
    uint64_t epoch;
    struct store *store;      /* outlives us */
};

/* Takes a new epoch. Waits for the disk. 0 or -errno. */
int role_init_alone(struct role *r, struct store *s);

/* "alone" */
const char *role_name(const struct role *r);

#endif
