/*
 * Topics whose setting `expire` is not 0 are deleted when nobody has used them for that long. A use is an append, a
 * read, a reader that waits, an action of a group, and a change of settings: topic_used notes it on the node where it
 * happens. Followers tell their leader of uses (broker/follower/follower.h), and the leader alone deletes
 * (broker/group/groups.h).
 *
 * Each such topic is looked at once in a quarter of its `expire`, on every node, so a use costs no more than to note
 * the time. So a leader hears of a use at most a quarter late, and waits for that much more than `expire`. Uses are
 * known in memory only: the time begins again when a node begins to lead, which is later than any use that another one
 * knew of.
 */
#ifndef BROKER_TOPIC_EXPIRY_H
#define BROKER_TOPIC_EXPIRY_H

#include "base/clock.h"
#include "broker/topic/topic.h"

/* A heap of topics with `expire`. Invariants: no topic's look_ns is above that of its parent in the heap; of the topic
 * in heap[i], use->place is i; a topic that is not in the heap has no `use`. */
struct expiry {
    struct topic **heap;             /* owned; by look_ns */
    uint32_t count, cap;
    uint64_t deleted;                /* topics that this node has deleted, as the leader */
};

void expiry_fini(struct expiry *e);

/* The topic is open, or its settings have changed. */
void expiry_begin(struct expiry *e, struct topic *t);

/* It is going to be freed, or is gone. Without effect for one without `expire`. */
void expiry_end(struct expiry *e, struct topic *t);

/* The topic whose look is due longest; its next one is a quarter of its `expire` later. NULL: none is due. */
struct topic *expiry_look(struct expiry *e, uint64_t now_ns);

/* The next look at it is this much later than now. */
void expiry_postpone(struct expiry *e, struct topic *t, uint64_t now_ns, uint64_t by_ns);

/* When the next look is due, as clock_ns; 0: no topic has `expire`. */
uint64_t expiry_due_ns(const struct expiry *e);

/* How long ago a topic with `expire` was last used, as far as this node knows; 0: it is in use; UINT64_MAX: it knows of
 * no use. */
uint64_t topic_unused_ns(const struct topic *t, uint64_t now_ns);

/* For the leader, of such a topic: how long it has to wait until nobody has used it for its `expire`; 0: that is so. */
uint64_t topic_expires_in_ns(const struct topic *t, uint64_t now_ns);

/* It was used on another node. */
void topic_was_used(struct topic *t, uint64_t now_ns, uint64_t ago_ms);

static inline void topic_used(struct topic *t)
{
    if (t->use != NULL)
        t->use->at_ns = clock_ns();
}

#endif
