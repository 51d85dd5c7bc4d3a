#include "broker/topic/mark.h"

#include "base/ensure.h"

void mark_init(struct mark *m, uint64_t at)
{
    m->at = at;
    list_init(&m->waiters);
}

/* Most wait for more than all before them, so the search from the end is over at once. */
void mark_wait(struct mark *m, struct waiter *w, uint64_t want)
{
    ENSURE(want > m->at);
    w->want = want;
    struct list *after = m->waiters.prev;
    while (after != &m->waiters && LIST_OWNER(after, struct waiter, link)->want > want)
        after = after->prev;
    list_insert_before(after->next, &w->link);
}

void mark_advance(struct mark *m, uint64_t to)
{
    ENSURE(to >= m->at);
    m->at = to;
    while (!list_empty(&m->waiters)) {
        struct waiter *w = list_first(&m->waiters, struct waiter, link);
        if (w->want > to)
            break;
        list_remove(&w->link);
        w->wake(w, 0);
    }
}

void mark_cut(struct mark *m, uint64_t to)
{
    if (m->at > to)
        m->at = to;
}

void mark_fail(struct mark *m, int rc)
{
    while (!list_empty(&m->waiters)) {
        struct waiter *w = list_first(&m->waiters, struct waiter, link);
        list_remove(&w->link);
        w->wake(w, rc);
    }
}

void waiter_cancel(struct waiter *w)
{
    if (w->link.next != NULL)
        list_remove(&w->link);
}
