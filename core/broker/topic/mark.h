/*
 * A mark is a number that only rises, and the list of its waiters.
 *
 * A topic has five: tail, written, disk, peers and readable (broker/topic/topic.h). To wait until offset N is, say, on
 * the disk, wait for N + 1 on that mark. A waiter is embedded in its owner, so waiting never allocates and never fails.
 * `wake` only queues work.
 *
 * A million idle topics have five million marks without a waiter, so a mark has no list head: its waiters are a ring
 * without one. Invariants: `first` wants least, and each next one as much or more; a waiter's `mark` is set exactly
 * while it is in that mark's ring. A mark with waiters may not move in memory.
 */
#ifndef BROKER_TOPIC_MARK_H
#define BROKER_TOPIC_MARK_H

#include <stdint.h>

#include "base/list.h"

struct mark {
    uint64_t at;              /* all offsets below this one have reached it */
    struct waiter *first;     /* of its waiters; NULL: nothing waits */
};

struct waiter {
    struct list link;
    struct mark *mark;        /* that it waits for; NULL: none */
    uint64_t want;            /* satisfied when mark.at >= want */
    void (*wake)(struct waiter *w, int rc);   /* rc 0; or -ERR_...: it will not be satisfied */
};

void mark_init(struct mark *m, uint64_t at);

/* Adds a waiter for `want`; in O(1) when no present waiter wants more. It must not be satisfied already. */
void mark_wait(struct mark *m, struct waiter *w, uint64_t want);

/* Raises the mark and wakes the waiters that this satisfies. */
void mark_advance(struct mark *m, uint64_t to);

/* Lowers the mark after a truncation. Waiters stay. */
void mark_cut(struct mark *m, uint64_t to);

/* Wakes all waiters with an error: the topic is deleted, or this node cannot raise the mark any more. */
void mark_fail(struct mark *m, int rc);

/* Stops waiting. Without effect if the waiter waits for nothing. */
void waiter_cancel(struct waiter *w);

#endif
