/* What the store does in each turn of the loop. */
#include <limits.h>

#include "base/clock.h"
#include "store/log/append.h"
#include "store/log/commit_log.h"
#include "store/log/group_commit.h"
#include "store/log/store_struct.h"
#include "store/log/write.h"

/* Orders the next file of a topic that fills files of some size, once the active one is half full. */
static void preallocate_if_worth(struct journal *j)
{
    struct segment *seg = j->parts.active;
    const struct journal_options *o = j->options;
    if (j->next_file != PREALLOCATED_NONE || seg->preallocated || seg->size < SEGMENT_AHEAD_MIN)
        return;
    if (seg->size <= o->segment_bytes / 2 && seg->next - seg->first <= o->segment_messages / 2)
        return;
    if (journal_own_dir(j) < 0)
        return;
    seg->preallocated = true;
    preallocate_begin(&j->parts.dir, seg->space < SEGMENT_SPACE_STEP_MAX ? seg->space : SEGMENT_SPACE_STEP_MAX,
                      &j->next_file);
}

/* Whether its batches stay in memory: the next group commit writes them to the commit log, if it goes by that, and else
 * to the file. */
static bool is_left_to_log(const struct journal *j)
{
    const struct segment *seg = j->parts.active;
    if (!j->store->queue.many || j->store->queue.urgent || !seg || j->sync.dir_dirty || j->options->written_at_once)
        return false;
    return j->options->durability == DURABILITY_COMMIT && !j->sync.deferred
        && buf_size(&j->pending) <= COMMIT_HELD_EACH && seg->size - seg->synced <= COMMIT_HELD_EACH;
}

void journal_flush(struct journal *j)
{
    struct store *s = j->store;
    journal_write(j);
    if (s->options.moved && j->owner)
        s->options.moved(j->owner, j->marks.written, j->marks.disk);
}

void store_flush(struct store *s)
{
    struct commit_queue *queue = &s->queue;
    while (!list_empty(&queue->dirty)) {
        struct journal *j = list_first(&queue->dirty, struct journal, sync.dirty);
        list_remove(&j->sync.dirty);
        bool left = is_left_to_log(j);
        j->checkpoint.clean = false;
        journal_want_sync(j);
        preallocate_if_worth(j);
        if (!left)
            journal_flush(j);
    }
    if (!list_empty(&queue->unsynced_later) && queue->later_due_ns == 0)
        queue->later_due_ns = clock_ns() + (uint64_t)s->options.sync_interval_ms * NS_PER_MS;
}

void store_sync(struct store *s)
{
    struct commit_queue *queue = &s->queue;
    background_run(&s->background);
    uint64_t now = clock_ns();
    commit_wait_note_time(&queue->wait, now);
    if (!group_commit_running(s->commit))
        commit_log_tend(s->log, now);
    commit_log_write_files(s->log);
    if (group_commit_running(s->commit))
        return;
    if (list_empty(&queue->unsynced_later))
        queue->later_due_ns = 0;
    bool later_due = queue->later_due_ns && (queue->urgent || now >= queue->later_due_ns);
    if (list_empty(&queue->unsynced) && !later_due)
        return;
    if (!later_due && !queue->urgent && commit_wait_more(&queue->wait, now))
        return;
    group_commit_submit(s->commit, &queue->unsynced, later_due ? &queue->unsynced_later : NULL);
    if (later_due)
        queue->later_due_ns = 0;
}

int store_event_fd(const struct store *s)
{
    return worker_event_fd(s->disk.worker);
}

bool store_is_busy(const struct store *s)
{
    return worker_is_busy(s->disk.worker);
}

void store_collect(struct store *s)
{
    worker_collect(s->disk.worker);
    store_finish_deletes(s);
}

/* The earlier of two deadlines, each 0 when there is none. */
static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

uint64_t store_deadline_ns(const struct store *s)
{
    uint64_t deadline = background_deadline_ns(&s->background);
    if (commit_log_writes_files(s->log))
        return 1;
    if (group_commit_running(s->commit))
        return deadline;               /* its end wakes the loop */
    deadline = earlier(deadline, s->queue.later_due_ns);
    deadline = earlier(deadline, commit_log_deadline_ns(s->log));
    return list_empty(&s->queue.unsynced) ? deadline : earlier(deadline, s->queue.wait.until_ns);
}

void store_sync_all(struct store *s)
{
    struct commit_queue *queue = &s->queue;
    bool urgent = queue->urgent;
    queue->urgent = true;
    store_flush(s);
    worker_wait(s->disk.worker);
    LIST_EACH(node, &s->journals) {
        struct journal *j = LIST_OWNER(node, struct journal, all);
        if (j->marks.disk < j->marks.written || !list_empty(&j->sync.sealing))
            journal_want_sync(j);
    }
    do {
        store_write_held(s, false, UINT_MAX);
        store_sync(s);
        worker_wait(s->disk.worker);
    } while (!list_empty(&queue->unsynced) || !list_empty(&queue->held));
    store_finish_deletes(s);
    queue->urgent = urgent;
}
