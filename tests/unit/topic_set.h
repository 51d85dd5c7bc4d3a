/*
 * Changes one setting of a topic as its record would, but without telling its journal.
 */
#ifndef UNIT_TOPIC_SET_H
#define UNIT_TOPIC_SET_H

#include "broker/topic/topics_struct.h"

#define TOPIC_SET(t, field, value) \
    do { \
        struct topic_settings changed = *(t)->settings; \
        changed.field = (value); \
        topic_set_settings((t), &changed); \
    } while (0)

#endif
