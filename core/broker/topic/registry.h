/*
 * The registry finds topics by name, by index in the order of names, and by a reference that may outlive the topic. It
 * does not own them: after registry_remove the caller frees the topic.
 */
#ifndef BROKER_TOPIC_REGISTRY_H
#define BROKER_TOPIC_REGISTRY_H

#include "base/map.h"
#include "broker/topic/topic.h"

/* Refers to a topic that may be deleted: a slot, and how often that slot was used before. */
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

/* Sets the topic's index and generation. No topic of this name may be in the registry, and the name may not change. */
void registry_add(struct registry *r, struct topic *t);
void registry_remove(struct registry *r, struct topic *t);

struct topic_ref topic_ref(const struct topic *t);
struct topic *registry_deref(const struct registry *r, struct topic_ref ref);   /* NULL once removed */

#endif
