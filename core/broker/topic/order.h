/*
 * Topics in an order: by name, or by id.
 *
 * They are kept in pages of up to ORDER_PAGE topics, so that adding or removing one of a million moves one page. No
 * page is empty, and the first of each is greater than the last of the one before. The topics are not owned.
 */
#ifndef BROKER_TOPIC_ORDER_H
#define BROKER_TOPIC_ORDER_H

#include "broker/topic/topic.h"

struct order_page;

/* What a topic is looked for by: the order uses one of the two. */
struct order_key {
    slice name;
    struct topic_id id;
};

/* Below 0, 0 or above 0, as the topic is below the key, has it, or is above. */
typedef int order_compare_fn(const struct topic *t, const struct order_key *key);
int order_by_name(const struct topic *t, const struct order_key *key);
int order_by_id(const struct topic *t, const struct order_key *key);

struct order {
    order_compare_fn *compare;
    struct order_page **pages;       /* owned, in order */
    size_t page_count, page_cap;
    size_t near_page, near_first;    /* where order_at was last: a page, and the index of its first topic */
};

void order_init(struct order *o, order_compare_fn *compare);
void order_fini(struct order *o);

/* No topic with this one's key may be there. */
void order_add(struct order *o, struct topic *t);
void order_remove(struct order *o, const struct topic *t);   /* it is there */

struct topic *order_find(const struct order *o, const struct order_key *key);   /* or NULL */

/* The i-th, or NULL; from one to the next in O(1). */
struct topic *order_at(struct order *o, size_t i);

/* How many are below the key; `equal`: or have it. */
size_t order_below(const struct order *o, const struct order_key *key, bool equal);

/* Visits all: begin with {0}; NULL at the end. The order must not change meanwhile. */
struct order_cursor {
    size_t page;
    unsigned at;
};
struct topic *order_next(const struct order *o, struct order_cursor *c);

#endif
