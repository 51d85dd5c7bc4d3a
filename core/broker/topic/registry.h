/*
 * The registry finds topics: by name, in the order of names, and by a reference that may outlive the topic.
 *
 * It owns no topic: registry_remove leaves the memory to the caller.
 */
#ifndef BROKER_TOPIC_REGISTRY_H
#define BROKER_TOPIC_REGISTRY_H

#include "base/map.h"
#include "broker/topic/topic.h"

/* What a handle keeps of a topic that may be deleted meanwhile. */
struct topic_ref {
    unsigned index, generation;
};

struct registry_slot;

struct registry {
    struct map by_name;
    struct topic **sorted;           /* owned, by name */
    struct registry_slot *slots;     /* owned, by topic.index */
    size_t count, cap;
};

void registry_init(struct registry *r);
void registry_fini(struct registry *r);

/* Sets the topic's index and generation. Its name must be new and stay as it is. */
void registry_add(struct registry *r, struct topic *t);
void registry_remove(struct registry *r, struct topic *t);

struct topic_ref topic_ref(const struct topic *t);
struct topic *registry_deref(const struct registry *r, struct topic_ref ref);   /* NULL once removed */

#endif
