/*
 * What the tests of groups and of access tokens share: their records count when they are on the disk and applied.
 */
#ifndef UNIT_FLUSH_TOPICS_H
#define UNIT_FLUSH_TOPICS_H

#include <unistd.h>

#include "base/clock.h"
#include "broker/topic/topics.h"
#include "unit/unit.h"

/* Turns the store's part of the loop until all that was appended is on the disk, and the changes of topics apply. */
static void flush_topics(struct store *s, struct topics *ts)
{
    for (uint64_t end = clock_ns() + 30 * NS_PER_S; clock_ns() < end;) {     /* a disk that others use may take long */
        bool done = true;
        store_flush(s);
        store_sync(s);
        store_collect(s);
        topics_apply(ts);
        for (size_t k = 0; k < topics_count(ts); k++)
            done = done && topics_at(ts, k)->disk.at == topics_at(ts, k)->tail.at;
        if (done && !topics_have_unapplied(ts))
            return;
        usleep(200);
    }
    CHECK(false);
}

#endif
