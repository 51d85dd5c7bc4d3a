/*
 * Times at which waits end: a heap ordered by time, and one timer of the event loop.
 *
 * Nearly every wait has a timeout and nearly none expires, so setting and clearing only write the time into the entry.
 * An entry stays in the heap under a key no later than its time; when the key is due, the entry is moved to its
 * present time, or dropped if it was cleared.
 */
#ifndef SCRIPT_VM_TIMEOUT_H
#define SCRIPT_VM_TIMEOUT_H

#include <stddef.h>

#include "net/loop.h"

struct timeout {
    uint64_t at;              /* when it is due, in clock_ns; 0: cleared */
    uint64_t key;             /* its order in the heap; at most `at` unless cleared */
    size_t place;             /* index in the heap, from 1 on; 0: not in it */
};

struct timeouts {
    struct timeout **heap;    /* owned; [0] is unused */
    size_t count, cap;
    struct loop *loop;        /* outlives us */
    struct watch watch;
    uint64_t armed;           /* the key for which `watch` is set; 0: not set */
    void (*on_due)(void *arg);
    void *arg;
};

/* The loop calls `on_due`, which takes the due entries with timeouts_next until that returns NULL. */
void timeouts_init(struct timeouts *ts, struct loop *loop, void (*on_due)(void *arg), void *arg);
void timeouts_fini(struct timeouts *ts);

void timeout_set(struct timeouts *ts, struct timeout *t, uint64_t at);
static inline void timeout_clear(struct timeout *t)
{
    t->at = 0;
}

/* Takes one entry that is due. NULL when none is, with the timer set for the next. */
struct timeout *timeouts_next(struct timeouts *ts, uint64_t now);

#endif
