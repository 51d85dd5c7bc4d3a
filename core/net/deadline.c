#include "net/deadline.h"

static void on_timer(void *arg)
{
    struct deadlines *d = arg;
    d->fired = true;
}

void deadlines_init(struct deadlines *d, struct loop *l)
{
    for (int kind = 0; kind < DEADLINE_KINDS; kind++)
        list_init(&d->lists[kind]);
    watch_timer(l, &d->timer, on_timer, d);
}

void deadlines_fini(struct deadlines *d)
{
    watch_fini(&d->timer);
}

void deadline_init(struct deadline *x)
{
    *x = (struct deadline){0};
    list_init(&x->link);
}

static void timer_arm(struct deadlines *d, uint64_t at_ns, uint64_t now_ns)
{
    d->armed_ns = at_ns;
    watch_arm(&d->timer, at_ns > now_ns ? at_ns - now_ns : 0);
}

void deadline_set(struct deadlines *d, struct deadline *x, enum deadline_kind kind, uint64_t now_ns)
{
    list_remove(&x->link);
    x->kind = kind;
    x->at_ns = now_ns + d->span_ns[kind];
    list_push(&d->lists[kind], &x->link);
    if (d->armed_ns == 0 || x->at_ns < d->armed_ns)
        timer_arm(d, x->at_ns, now_ns);
}

void deadline_clear(struct deadline *x)
{
    list_remove(&x->link);
    x->kind = DEADLINE_NONE;
}

struct deadline *deadlines_next(struct deadlines *d, uint64_t now_ns)
{
    struct deadline *first = NULL;
    for (int kind = 0; kind < DEADLINE_KINDS; kind++) {
        if (list_empty(&d->lists[kind]))
            continue;
        struct deadline *x = list_first(&d->lists[kind], struct deadline, link);
        if (!first || x->at_ns < first->at_ns)
            first = x;
    }
    if (first && first->at_ns <= now_ns) {
        list_remove(&first->link);
        return first;
    }
    d->fired = false;
    d->armed_ns = 0;
    if (first)
        timer_arm(d, first->at_ns, now_ns);
    return NULL;
}
