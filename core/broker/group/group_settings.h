/*
 * The settings of a group, and their form as pairs of text, which are the headers of its records.
 *
 *   lease_time                 milliseconds that a lease lasts
 *   deliveries                 after so many that counted a message is dead; 0 = no bound
 *   lease_max                  messages leased at once
 *   order                      none | key
 *   retry.min, retry.max       milliseconds; the delay before the next delivery is at least, and at most, this
 *   retry.factor               thousandths by which the delay grows with each delivery
 *   expire                     milliseconds without a claim, settle or change after which the group goes; 0 = never
 *   expired                    drop | dead: what becomes of a message whose lignum-ttl is over
 *   dead_letter                the topic to which dead messages are copied; "": none
 *   filter                     which messages are delivered, as filter.h has it; "": all
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

/* 0; -ERR_BAD_VALUE for an unknown name or an impossible value, with a sentence in `why`. */
int group_settings_set(struct group_settings *s, slice name, slice value, struct buf *why);

/* Visits all pairs in a fixed order; `text` is valid during the call. */
void group_settings_each(const struct group_settings *s, void (*visit)(void *arg, const char *name, slice text),
                         void *arg);

bool group_settings_equal(const struct group_settings *a, const struct group_settings *b);

/* The delay before the next delivery, after so many that counted. */
uint64_t group_retry_ms(const struct group_settings *s, uint64_t deliveries);

#endif
