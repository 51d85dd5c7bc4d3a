/*
 * Whether the next round of the disk thread waits for more to sync (group commit).
 *
 * What is written while a round runs could go with the next at once. But clients that publish again when they are
 * answered fall into two halves that way, which take turns: each also waits for the other's sync, and the disk is asked
 * twice as often as it need be. So after a round the next one waits until as many batches have come as the round
 * answered, if they can be expected within half of the time that a round takes, and no longer than that: half of a
 * flush is what PostgreSQL advises for its setting commit_delay (its manual, "WAL Configuration").
 *
 * How long they will take is told from those who came last. Of clients that publish when they like, some come all the
 * time, so there is no waiting for them; nor for more clients than can be served in that time, nor on a quick disk.
 * After waits in vain some rounds do not wait, however promising it looks.
 */
#ifndef STORE_LOG_COMMIT_WAIT_H
#define STORE_LOG_COMMIT_WAIT_H

#include <stdbool.h>
#include <stdint.h>

/* A zeroed one is valid. Times are nanoseconds of clock_ns(). */
struct commit_wait {
    unsigned waiting;             /* batches that want a round and are in none */
    unsigned covered;             /* by the round that runs, or ran last */
    unsigned before;              /* waited when that ended */
    uint64_t began_ns, ended_ns;  /* that round */
    uint64_t took_ns;             /* by it alone, without the way to the disk thread and back */
    uint64_t came_ns;             /* when the last of those who wait came; 0 until a turn has looked */
    uint64_t pace_ns;             /* from one to the next of them, the last time that many came */
    uint64_t until_ns;            /* the next round waits no longer than until then; 0 = not at all */
    bool waited;                  /* it did */
    unsigned vain;                /* waits in a row for which too few came */
    unsigned pause;               /* rounds that do not wait because of that */
};

void commit_wait_add(struct commit_wait *g);                              /* a batch was appended that wants a round */
void commit_wait_note_time(struct commit_wait *g, uint64_t now_ns);       /* in each turn */
bool commit_wait_waits(struct commit_wait *g, uint64_t now_ns);           /* shall the next round not begin yet? */
void commit_wait_begin(struct commit_wait *g, uint64_t now_ns);           /* a round begins, with all that waits */
void commit_wait_end(struct commit_wait *g, uint64_t now_ns, uint64_t took_ns);   /* it is over */

#endif
