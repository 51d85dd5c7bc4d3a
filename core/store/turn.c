/* The store's steps of the loop's turn. */
#include "base/clock.h"
#include "store/inner.h"

static void store_moved(struct journal *j)
{
    const struct store_options *o = &j->store->options;
    if (o->moved && j->owner)
        o->moved(j->owner, j->written, j->disk);
}

static void journal_flush(struct journal *j)
{
    journal_write(j);
    journal_want_round(j);
#ifdef MUTANT_ACK_BEFORE_SYNC
    j->disk = j->written;    /* the defect that the power loss test must catch */
#endif
    spare_want(j);
    store_moved(j);
}

void store_flush(struct store *s)
{
    while (!list_empty(&s->dirty)) {
        struct journal *j = list_first(&s->dirty, struct journal, dirty);
        list_remove(&j->dirty);
        journal_flush(j);
    }
    if (!list_empty(&s->unsynced_later) && s->interval_due_ns == 0)
        s->interval_due_ns = clock_ns() + (uint64_t)s->options.sync_interval_ms * NS_PER_MS;
}

void store_sync(struct store *s)
{
    audit_step(s);
    ahead_step(s);
    if (round_busy(s))
        return;
    if (list_empty(&s->unsynced_later))
        s->interval_due_ns = 0;
    bool due = s->interval_due_ns && (s->closing || clock_ns() >= s->interval_due_ns);
    if (list_empty(&s->unsynced) && !due)
        return;
    round_submit(s, &s->unsynced, due ? &s->unsynced_later : NULL);
    if (due)
        s->interval_due_ns = 0;
}

int store_event_fd(const struct store *s)
{
    return sync_event_fd(s->sync);
}

void store_collect(struct store *s)
{
    sync_collect(s->sync);
}

uint64_t store_deadline_ns(const struct store *s)
{
    uint64_t audit_ns = audit_deadline_ns(s);
    uint64_t sync_ns = round_busy(s) ? 0 : s->interval_due_ns;   /* the end of the round will wake the loop anyway */
    return sync_ns && (!audit_ns || sync_ns < audit_ns) ? sync_ns : audit_ns;
}

void store_sync_all(struct store *s)
{
    bool closing = s->closing;
    s->closing = true;
    store_flush(s);
    sync_wait(s->sync);
    LIST_EACH(node, &s->journals) {
        struct journal *j = LIST_OWNER(node, struct journal, all);
        if (j->disk < j->written || !list_empty(&j->sealing))
            journal_want_round(j);
    }
    store_sync(s);
    sync_wait(s->sync);
    s->closing = closing;
}
