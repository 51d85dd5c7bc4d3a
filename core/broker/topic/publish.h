/*
 * A publish that asks something before it is appended: whether its producer has sent it before, and whether the log
 * ends where it should.
 *
 * The rule of producers (store/senders) comes first, so that a repeated request is a duplicate wherever the log ends by
 * now.
 */
#ifndef BROKER_TOPIC_PUBLISH_H
#define BROKER_TOPIC_PUBLISH_H

#include "broker/topic/topics.h"

struct publish {
    struct append *append;
    const struct topic_token *expect;   /* NULL: nothing is expected */

    /* what became of it */
    bool duplicate;               /* it is in the log already */
    bool placed;                  /* first, count and epoch are known. Of a duplicate they may not be */
    uint64_t first, epoch;
    uint32_t count;
    uint64_t want;                /* it is acknowledged when the mark has reached this offset */
    uint64_t number;              /* -ERR_SEQUENCE_GAP: the sequence that comes next; -ERR_FENCED: the newer epoch */
};

/* 0: it is in the log; -ERR_SEQUENCE_GAP, -ERR_FENCED, -ERR_PRECONDITION or an error of topics_append: nothing was
 * appended. */
int topics_publish(struct topic *t, struct publish *p);

#endif
