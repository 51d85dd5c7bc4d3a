/*
 * Times at which waits end: a heap by time and one timer of the loop.
 *
 * Nearly every wait has a timeout and nearly none runs out, so setting and clearing do no more than note the time. An
 * entry stays in the heap at a time no later than its own and is looked at again when that has come.
 */
#ifndef SCRIPT_VM_TIMEOUT_H
#define SCRIPT_VM_TIMEOUT_H

#include <stddef.h>

#include "net/loop.h"

struct timeout {
    uint64_t at;              /* when it is due, in clock_ns; 0: not at all */
    uint64_t key;             /* its place in the heap is by this */
    size_t place;             /* from 1 on; 0: not in the heap */
};

struct timeouts {
    struct timeout **heap;    /* owned; [0] is unused */
    size_t count, cap;
    struct loop *loop;        /* outlives us */
    struct watch watch;
    uint64_t armed;           /* what the watch waits for; 0: nothing */
    void (*on_due)(void *arg);
    void *arg;
};

/* `on_due` is called from the loop; it takes what is due with timeouts_next until there is none. */
void timeouts_init(struct timeouts *ts, struct loop *loop, void (*on_due)(void *arg), void *arg);
void timeouts_fini(struct timeouts *ts);

void timeout_set(struct timeouts *ts, struct timeout *t, uint64_t at);
static inline void timeout_clear(struct timeout *t)
{
    t->at = 0;
}

/* Takes one that is due; NULL when there is none, and then the timer is armed for the next. */
struct timeout *timeouts_next(struct timeouts *ts, uint64_t now);

#endif
