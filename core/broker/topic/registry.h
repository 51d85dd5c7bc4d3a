/*
 * The registry finds topics by name, by index in the order of names, and by a reference that may outlive the topic. It
 * does not own them: after registry_remove the caller frees the topic.
 */
#ifndef BROKER_TOPIC_REGISTRY_H
#define BROKER_TOPIC_REGISTRY_H

#include "base/map.h"
#include "broker/topic/order.h"

/* Refers to a topic that may be deleted: a slot, and how often that slot was used before. */
struct topic_ref {
    unsigned index, generation;
};

struct registry_slot;

struct registry {
    struct map by_name;
    struct order order;              /* by name */
    struct registry_slot *slots;     /* owned, by topic.index */
    unsigned slot_count, slot_cap;
    unsigned free;                   /* the first free slot; the others follow by its `next` */
    size_t count;
    uint64_t changes;                /* how often a topic was added or removed */
};

void registry_init(struct registry *r);
void registry_fini(struct registry *r);

/* Sets the topic's index and generation. No topic of this name may be in the registry, and the name may not change. */
void registry_add(struct registry *r, struct topic *t);
void registry_remove(struct registry *r, struct topic *t);

/* The i-th in the order of names, or NULL; from one to the next in O(1). */
struct topic *registry_at(struct registry *r, size_t i);

/* How many have names that are lower than this one; `equal`: or equal. */
size_t registry_below(const struct registry *r, slice name, bool equal);

/* Visits all in order: begin with {0}; NULL at the end. The registry must not change meanwhile. */
struct topic *registry_next(const struct registry *r, struct order_cursor *c);

struct topic_ref topic_ref(const struct topic *t);
struct topic *registry_deref(const struct registry *r, struct topic_ref ref);   /* NULL once removed */

#endif
