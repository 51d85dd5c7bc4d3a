#include "broker/topic/mark.h"

#include "base/ensure.h"

static struct waiter *waiter_at(struct list *link)
{
    return LIST_OWNER(link, struct waiter, link);
}

void mark_init(struct mark *m, uint64_t at)
{
    *m = (struct mark){.at = at};
}

/* Most wait for more than all before them, so the search from the end is over at once. */
void mark_wait(struct mark *m, struct waiter *w, uint64_t want)
{
    ENSURE(want > m->at);
    w->want = want;
    w->mark = m;
    list_init(&w->link);
    struct waiter *first = m->first;
    if (first == NULL || first->want > want)
        m->first = w;
    if (first == NULL)
        return;
    struct list *next = &first->link;      /* before the first is behind the last */
    while (m->first == first && waiter_at(next->prev)->want > want)
        next = next->prev;
    list_insert_before(next, &w->link);
}

static void leave(struct waiter *w)
{
    struct mark *m = w->mark;
    if (m->first == w)
        m->first = list_alone(&w->link) ? NULL : waiter_at(w->link.next);
    list_remove(&w->link);
    w->mark = NULL;
}

void mark_advance(struct mark *m, uint64_t to)
{
    ENSURE(to >= m->at);
    m->at = to;
    for (struct waiter *w; (w = m->first) != NULL && w->want <= to;) {
        leave(w);
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
    for (struct waiter *w; (w = m->first) != NULL;) {
        leave(w);
        w->wake(w, rc);
    }
}

void waiter_cancel(struct waiter *w)
{
    if (w->mark != NULL)
        leave(w);
}
