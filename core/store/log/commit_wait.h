/*
 * Decides whether the next group commit waits for more batches before it begins.
 *
 * Batches that arrive while a group commit runs could be synced at once when it ends. But clients that publish again as
 * soon as they are answered then fall into two halves that take turns: each also waits for the sync of the other, and
 * the disk syncs twice as often as it needs to. So the next group commit waits until as many batches have arrived as
 * the last one answered, if all are expected before one more sync would be over: its time, and as much again but at
 * most 0.1 ms, for the CPU that a sync takes and the threads that wake each other. It waits no longer than that, and
 * no longer than twice the time in which the answered ones are expected.
 *
 * Whether they are expected is estimated from the rate of the last arrivals. Clients that publish at times of their own
 * arrive at all times, so that there is no waiting for them; nor is there for more clients than can be served in that
 * time. After repeated timeouts it backs off: some group commits do not wait, whatever the estimate (doc/why/010).
 */
#ifndef STORE_LOG_COMMIT_WAIT_H
#define STORE_LOG_COMMIT_WAIT_H

#include <stdbool.h>
#include <stdint.h>

/* A zeroed one is valid. Times are nanoseconds of clock_ns(). */
struct commit_wait {
    unsigned waiting;             /* batches that want a sync and are in no group commit yet */
    unsigned covered;             /* by the group commit that runs, or ran last */
    unsigned before;              /* were waiting when that ended */
    uint64_t began_ns, ended_ns;  /* of that group commit */
    uint64_t took_ns;             /* its syncs alone, without the way to the disk thread and back */
    uint64_t came_ns;             /* when the last waiting batch arrived; 0 until the turn's time is noted */
    uint64_t pace_ns;             /* estimated time between two arrivals */
    uint64_t until_ns;            /* the next group commit waits until then at most; 0: not at all */
    bool waited;                  /* it did */
    unsigned timeouts;            /* in a row: waits for which too few arrived */
    unsigned pause;               /* group commits that will not wait because of timeouts */
};

/* A batch was appended that wants a sync. */
void commit_wait_add(struct commit_wait *w);

/* Called once in each turn: the batches that were added arrived now. */
void commit_wait_note_time(struct commit_wait *w, uint64_t now_ns);

/* Whether the next group commit should not begin yet. */
bool commit_wait_more(struct commit_wait *w, uint64_t now_ns);

/* A group commit begins, with all that waits; and is over, after syncs that took took_ns. */
void commit_wait_begin(struct commit_wait *w, uint64_t now_ns);
void commit_wait_end(struct commit_wait *w, uint64_t now_ns, uint64_t took_ns);

#endif
