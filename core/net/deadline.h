/*
 * Deadlines of many connections on one timer.
 *
 * All deadlines of a kind have the same span, so appending keeps their list in order, and setting or clearing one
 * moves a few pointers. The timer is armed for the earliest deadline. It is not moved when that one is cleared, so
 * deadlines that were met cost one needless wake-up for all of them together. A deadline is set when a phase begins,
 * and not again by each byte that arrives.
 *
 * A struct deadline is in the list of its kind while it is set; deadline_clear and deadlines_next take it out.
 */
#ifndef NET_DEADLINE_H
#define NET_DEADLINE_H

#include "base/list.h"
#include "net/loop.h"

enum deadline_kind {
    DEADLINE_NONE,
    DEADLINE_SHAKE,   /* until TLS is open */
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
    uint64_t span_ns[DEADLINE_KINDS];  /* a change affects deadlines set afterwards */
    struct watch timer;
    uint64_t armed_ns;                 /* when the timer fires; 0: it is not armed */
    bool fired;
};

void deadlines_init(struct deadlines *d, struct loop *l);
void deadlines_fini(struct deadlines *d);

void deadline_init(struct deadline *x);
void deadline_set(struct deadlines *d, struct deadline *x, enum deadline_kind kind, uint64_t now_ns);
void deadline_clear(struct deadline *x);

/* The next deadline that has passed, removed from its list. To be called once the timer has fired, until it returns
 * NULL, which arms the timer again. */
struct deadline *deadlines_next(struct deadlines *d, uint64_t now_ns);

#endif
