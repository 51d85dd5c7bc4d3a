/*
 * The settings of a group, and their form as pairs of text, which are the headers of its records.
 *
 *   lease_time                 how long a lease lasts, in milliseconds
 *   deliveries                 how many deliveries may count before the message is dead; 0: any number
 *   lease_max                  how many messages may be leased at once
 *   order                      "key": one message of a key is leased at a time, in order; "none": any
 *   retry.min, retry.max       the bounds of the delay before the next delivery, in milliseconds
 *   retry.factor               what the delay is multiplied by after each delivery, in thousandths
 *   expire                     milliseconds without a call after which the group is deleted; 0: never
 *   expired                    "drop": a message whose lignum-ttl is over is settled; "dead": it is a dead message
 *   dead_letter                the topic to which dead messages are copied; "": none
 *   filter                     which messages are delivered, in the form of filter.h; "": all
 */
#ifndef BROKER_GROUP_GROUP_SETTINGS_H
#define BROKER_GROUP_GROUP_SETTINGS_H

#include "base/buf.h"
#include "base/limits.h"
#include "broker/group/filter.h"

enum group_order { ORDER_NONE, ORDER_KEY };
enum group_outdated { OUTDATED_DROP, OUTDATED_DEAD };

struct group_settings {
    uint64_t lease_ms, deliveries, lease_max, order, retry_min_ms, retry_max_ms, retry_factor, expire_ms, outdated;
    char dead_letter[TOPIC_NAME_MAX + 1];
    char filter[GROUP_FILTER_MAX];
    size_t filter_size;
};

static inline slice group_filter(const struct group_settings *s)
{
    return slice_of(s->filter, s->filter_size);
}

extern const struct group_settings group_settings_default;

/* Sets one. 0; -ERR_BAD_VALUE for an unknown name or a value out of bounds, with a sentence in `why`. */
int group_settings_set(struct group_settings *s, slice name, slice value, struct buf *why);

/* Visits the pairs of all settings in a fixed order; `text` is valid during the call. */
void group_settings_each(const struct group_settings *s, void (*visit)(void *arg, const char *name, slice text),
                         void *arg);

bool group_settings_equal(const struct group_settings *a, const struct group_settings *b);

/* The delay before the next delivery of a message, after `deliveries` counted deliveries. */
uint64_t group_retry_delay_ms(const struct group_settings *s, uint64_t deliveries);

#endif
