/*
 * A mark is a number that only rises, and the list of its waiters.
 *
 * A topic has four: tail, written, disk and peers (broker/topic/topic.h). Whoever needs "offset N has got as far as X"
 * waits on one of them. A waiter is embedded in its owner, so waiting never allocates and never fails. Waking
 * queues work; it never does it.
 */
#ifndef BROKER_TOPIC_MARK_H
#define BROKER_TOPIC_MARK_H

#include <stdint.h>

#include "base/list.h"

struct mark {
    uint64_t at;              /* every offset below this one has arrived */
    struct list waiters;      /* ordered by waiter.want */
};

struct waiter {
    struct list link;
    uint64_t want;            /* satisfied when mark.at >= want */
    void (*wake)(struct waiter *w, int rc);   /* rc 0, or why it will never come: -ERR_... */
};

void mark_init(struct mark *m, uint64_t at);

/* Adds a waiter for `want`; in O(1) when no present waiter wants more. It must not be satisfied already. */
void mark_wait(struct mark *m, struct waiter *w, uint64_t want);

/* Raises the mark and wakes whom that satisfies. */
void mark_advance(struct mark *m, uint64_t to);

/* Lowers the mark: the log was cut there. Whoever waits goes on waiting. */
void mark_cut(struct mark *m, uint64_t to);

/* Wakes everybody with an error: the topic is going away, or waiting has become pointless. */
void mark_fail(struct mark *m, int rc);

/* Stops waiting; harmless when the waiter is in no list. */
void waiter_cancel(struct waiter *w);

#endif
