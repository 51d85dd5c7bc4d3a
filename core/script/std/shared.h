/*
 * Dictionaries that belong to the process, not to a Lua state: what scripts keep in them survives reloads.
 *
 * main owns the `struct shared`; dictionaries are made at the first use of their name and live as long as it does, so
 * a pointer to one stays valid. All of this runs on the loop's thread; each call is atomic for scripts, because none
 * waits. No function takes a lua_State, and none raises.
 */
#ifndef SCRIPT_STD_SHARED_H
#define SCRIPT_STD_SHARED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

struct shared;
struct dict;

/* In an argument `bytes` is borrowed; in an entry it is owned. */
struct shared_value {
    enum { SHARED_FLAG, SHARED_WHOLE, SHARED_NUMBER, SHARED_TEXT, SHARED_TABLE } type;
    union {
        bool flag;
        int64_t whole;
        double number;
        slice bytes;                  /* SHARED_TEXT; SHARED_TABLE: as its writer has encoded it */
    };
};

/*
 * An entry of a dictionary. Invariants: place == 0 exactly when it never expires (until == 0); d->bytes is the sum of
 * the entries' costs.
 */
struct dict_entry {
    struct shared_value value;        /* a flag or a number may be changed in place */
    uint64_t until;                   /* in clock_ns; 0: for ever */
    size_t place;                     /* in the heap of those that expire, from 1 on */
    size_t key_size;
    char key[];
};

struct shared *shared_new(void);
void shared_free(struct shared *shared);

/* The dictionary of that name, made if it is missing, with at most `bytes_max` bytes from now on. NULL: there are
 * DICTS_MAX others, or their bytes and these are more than DICTS_SIZE_MAX. */
struct dict *shared_dict(struct shared *shared, slice name, size_t bytes_max);

/* NULL: there is none, or it has expired. Valid until the next call that changes the dictionary. */
struct dict_entry *dict_find(struct dict *d, slice key);

/* Sets an entry, and when it expires (0: never). -ERR_TOO_LARGE: it does not fit, and nothing has changed. */
int dict_set(struct dict *d, slice key, struct shared_value value, uint64_t until);
bool dict_delete(struct dict *d, slice key);

/* Visits all entries in no order: start with *at = 0; NULL at the end. */
const struct dict_entry *dict_next(struct dict *d, size_t *at);

struct dict_stats {
    size_t count, bytes, bytes_max;
};
struct dict_stats dict_stats(struct dict *d);

#endif
