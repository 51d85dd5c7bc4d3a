/*
 * Deadlines of many connections on one timer.
 *
 * All deadlines of a kind have the same length, so a list that is appended to is in order, and setting or clearing
 * one is a few pointers. The timer is armed for the earliest and moved only when it has fired: a deadline that was
 * cleared in time costs at most one needless wake-up for all. Nothing is set again by a byte that arrives.
 */
#ifndef NET_DEADLINE_H
#define NET_DEADLINE_H

#include "base/list.h"
#include "net/loop.h"

enum deadline_kind {
    DEADLINE_NONE,
    DEADLINE_IDLE,    /* between two requests */
    DEADLINE_HEAD,
    DEADLINE_BODY,
    DEADLINE_WRITE,
    DEADLINE_LINGER,
    DEADLINE_KINDS,
};

struct deadline {        /* embedded in its owner; deadline_init first */
    struct list link;
    uint64_t at_ns;
    enum deadline_kind kind;
};

struct deadlines {
    struct list lists[DEADLINE_KINDS];
    uint64_t span_ns[DEADLINE_KINDS];  /* a change is for those set from then on */
    struct watch timer;
    uint64_t armed_ns;                 /* when the timer fires; 0: it is not armed */
    bool fired;
};

void deadlines_init(struct deadlines *d, struct loop *l);
void deadlines_fini(struct deadlines *d);

void deadline_init(struct deadline *x);
void deadline_set(struct deadlines *d, struct deadline *x, enum deadline_kind kind, uint64_t now_ns);
void deadline_clear(struct deadline *x);

/* The next one that has passed, taken off its list, or NULL; to be called until then once the timer has fired. */
struct deadline *deadlines_next(struct deadlines *d, uint64_t now_ns);

#endif
