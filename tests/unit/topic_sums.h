/* What all topics have together (struct topic_sums), counted anew: rigs compare it whenever a node ends. */
#ifndef UNIT_TOPIC_SUMS_H
#define UNIT_TOPIC_SUMS_H

#include "base/least.h"
#include "broker/topic/topics.h"
#include "broker/topic/topics_struct.h"
#include "unit/unit.h"

static void sums_add(struct topic_sums *sums, const struct topic *t)
{
    struct journal_info info = {0};
    if (t->journal != NULL)
        journal_info(t->journal, &info);
    sums->messages += info.disk;
    sums->epoch = most(sums->epoch, info.epoch);
    if (t->settings->replication == REPLICATION_LIVE && !topic_is_internal(t) && !t->gone)
        sums->live[t->settings->copies]++;
}

static void check_sums(struct topics *ts)
{
    struct topic_sums sums = {0};
    struct order_cursor at = {0}, at_unopened = {0};
    for (const struct topic *t; (t = registry_next(&ts->all, &at)) != NULL;)
        sums_add(&sums, t);
    for (const struct topic *t; (t = registry_next(&ts->unopened, &at_unopened)) != NULL;)
        sums_add(&sums, t);
    const struct topic_sums *known = topics_sums(ts);
    CHECK_EQ(known->messages, sums.messages);
    CHECK_EQ(known->epoch, sums.epoch);
    CHECK(memcmp(known->live, sums.live, sizeof(sums.live)) == 0);
}

#endif
