/* The store's steps of the loop's turn. */
#include "base/clock.h"
#include "store/log/inner.h"

static void store_moved(struct journal *j)
{
    const struct store_options *o = &j->store->options;
    if (o->moved && j->owner)
        o->moved(j->owner, j->written, j->disk);
}

static void journal_flush(struct journal *j)
{
    journal_write(j);
    journal_want_sync(j);
    preallocate_want(j);
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
    prepare_step(s);
    uint64_t now = clock_ns();
    commit_wait_note_time(&s->commit_wait, now);
    if (group_commit_busy(s))
        return;
    if (list_empty(&s->unsynced_later))
        s->interval_due_ns = 0;
    bool due = s->interval_due_ns && (s->closing || now >= s->interval_due_ns);
    if (list_empty(&s->unsynced) && !due)
        return;
    if (!due && !s->closing && commit_wait_waits(&s->commit_wait, now))
        return;
    group_commit_submit(s, &s->unsynced, due ? &s->unsynced_later : NULL);
    if (due)
        s->interval_due_ns = 0;
}

int store_event_fd(const struct store *s)
{
    return worker_event_fd(s->disk.worker);
}

void store_collect(struct store *s)
{
    worker_collect(s->disk.worker);
}

/* Of two deadlines, each 0 when there is none. */
static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

/* The end of a round will wake the loop anyway. */
static uint64_t sync_deadline_ns(const struct store *s)
{
    if (group_commit_busy(s))
        return 0;
    return list_empty(&s->unsynced) ? s->interval_due_ns : earlier(s->commit_wait.until_ns, s->interval_due_ns);
}

uint64_t store_deadline_ns(const struct store *s)
{
    return earlier(sync_deadline_ns(s), audit_deadline_ns(s));
}

void store_sync_all(struct store *s)
{
    bool closing = s->closing;
    s->closing = true;
    store_flush(s);
    worker_wait(s->disk.worker);
    LIST_EACH(node, &s->journals) {
        struct journal *j = LIST_OWNER(node, struct journal, all);
        if (j->disk < j->written || !list_empty(&j->sealing))
            journal_want_sync(j);
    }
    store_sync(s);
    worker_wait(s->disk.worker);
    s->closing = closing;
}
