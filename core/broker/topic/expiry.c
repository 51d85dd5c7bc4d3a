#include "broker/topic/expiry.h"

#include "base/least.h"
#include "base/mem.h"

/* ---- the heap ---- */

static void put(struct expiry *e, uint32_t i, struct topic *t)
{
    e->heap[i] = t;
    t->use->place = i;
}

static void move_up(struct expiry *e, uint32_t i, struct topic *t)
{
    while (i > 0 && e->heap[(i - 1) / 2]->use->look_ns > t->use->look_ns) {
        put(e, i, e->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    put(e, i, t);
}

static void move_down(struct expiry *e, uint32_t i, struct topic *t)
{
    for (uint32_t child; (child = 2 * i + 1) < e->count; i = child) {
        if (child + 1 < e->count && e->heap[child + 1]->use->look_ns < e->heap[child]->use->look_ns)
            child++;
        if (e->heap[child]->use->look_ns >= t->use->look_ns)
            break;
        put(e, i, e->heap[child]);
    }
    put(e, i, t);
}

static void place(struct expiry *e, uint32_t i, struct topic *t)
{
    if (i > 0 && e->heap[(i - 1) / 2]->use->look_ns > t->use->look_ns)
        move_up(e, i, t);
    else
        move_down(e, i, t);
}

void expiry_fini(struct expiry *e)
{
    mem_free(e->heap);
}

void expiry_end(struct expiry *e, struct topic *t)
{
    if (t->use == NULL)
        return;
    uint32_t i = t->use->place;
    struct topic *last = e->heap[--e->count];
    if (last != t)
        place(e, i, last);
    mem_free(t->use);
    t->use = NULL;
}

void expiry_postpone(struct expiry *e, struct topic *t, uint64_t now_ns, uint64_t by_ns)
{
    t->use->look_ns = now_ns + by_ns;
    place(e, t->use->place, t);
}

/* ---- topics ---- */

static uint64_t expire_ns(const struct topic *t)
{
    return t->settings->expire_ms * NS_PER_MS;
}

void expiry_begin(struct expiry *e, struct topic *t)
{
    if (t->settings->expire_ms == 0) {
        expiry_end(e, t);
        return;
    }
    if (t->use == NULL) {
        t->use = MEM_NEW(struct topic_use);
        t->use->begun_ns = clock_ns();
        if (e->count == e->cap) {
            e->cap = e->cap == 0 ? 16 : e->cap + e->cap / 2;
            e->heap = mem_resize(e->heap, e->cap * sizeof(struct topic *));
        }
        put(e, e->count++, t);
    }
    expiry_postpone(e, t, clock_ns(), expire_ns(t) / 4);
}

struct topic *expiry_look(struct expiry *e, uint64_t now_ns)
{
    if (e->count == 0 || e->heap[0]->use->look_ns > now_ns)
        return NULL;
    struct topic *t = e->heap[0];
    expiry_postpone(e, t, now_ns, expire_ns(t) / 4);
    return t;
}

uint64_t expiry_due_ns(const struct expiry *e)
{
    return e->count == 0 ? 0 : e->heap[0]->use->look_ns;
}

/* Who waits to read, and a group whose consumers wait, has a waiter there. */
uint64_t topic_unused_ns(const struct topic *t, uint64_t now_ns)
{
    if (t->readable.first != NULL || t->use->at_ns > now_ns)
        return 0;
    return t->use->at_ns == 0 ? UINT64_MAX : now_ns - t->use->at_ns;
}

uint64_t topic_expires_in_ns(const struct topic *t, uint64_t now_ns)
{
    bool alone = t->shared->role->kind == ROLE_ALONE;
    uint64_t wait = expire_ns(t) + (alone ? 0 : expire_ns(t) / 4);
    uint64_t begun = alone ? t->use->begun_ns : t->lead->begun_ns;
    uint64_t rest = least(topic_unused_ns(t, now_ns), begun > now_ns ? 0 : now_ns - begun);
    return rest < wait ? wait - rest : 0;
}

void topic_was_used(struct topic *t, uint64_t now_ns, uint64_t ago_ms)
{
    uint64_t at_ns = ago_ms < now_ns / NS_PER_MS ? now_ns - ago_ms * NS_PER_MS : 0;
    if (t->use != NULL && at_ns > t->use->at_ns)
        t->use->at_ns = at_ns;
}
