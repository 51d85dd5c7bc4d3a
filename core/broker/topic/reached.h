/*
 * How far a leader has come with a topic: the answer to a barrier (broker/leader/barrier.h). A node that has all of it
 * shows its readers everything that any node had acknowledged when the barrier began.
 */
#ifndef BROKER_TOPIC_REACHED_H
#define BROKER_TOPIC_REACHED_H

#include "broker/topic/topic.h"

struct reached {
    uint64_t applied;             /* records of _topics below this have taken effect */
    bool known;                   /* it has a topic of the name; then: */
    struct topic_id id;
    uint64_t readable;            /* its readers see offsets below this */
};

#endif
