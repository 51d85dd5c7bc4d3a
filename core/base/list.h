/*
 * An intrusive doubly linked ring. The owner embeds a link; linking never allocates or fails.
 */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *prev, *next;
};

#define LIST_OWNER(node, type, member) ((type *)(void *)((char *)(node) - offsetof(type, member)))
#define list_first(head, type, member) LIST_OWNER((head)->next, type, member)
#define list_last(head, type, member) LIST_OWNER((head)->prev, type, member)

/* The body may remove `node`, and nothing else, from the list. */
#define LIST_EACH(node, head) \
    for (struct list *node = (head)->next, *node##_next = node->next; node != (head); \
         node = node##_next, node##_next = node->next)

static inline void list_init(struct list *l)
{
    l->prev = l->next = l;
}

static inline bool list_empty(const struct list *head)
{
    return head->next == head;
}

/* True of an initialised link that is in no list. */
static inline bool list_alone(const struct list *link)
{
    return link->next == link;
}

static inline void list_insert_before(struct list *at, struct list *link)
{
    link->prev = at->prev;
    link->next = at;
    at->prev->next = link;
    at->prev = link;
}

static inline void list_push(struct list *head, struct list *link)
{
    list_insert_before(head, link);
}

/* Afterwards the link is in no list, so that removing it again is harmless. */
static inline void list_remove(struct list *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
    list_init(link);
}

/* Appends all of from to the end of `to`; from is then empty. */
static inline void list_splice(struct list *to, struct list *from)
{
    if (list_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}

#endif
