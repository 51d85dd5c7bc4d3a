#include "store/log/write.h"

#include "base/least.h"
#include "store/disk/io.h"
#include "store/log/store_struct.h"

void journal_write_bytes(struct journal *j, slice bytes)
{
    struct segment *seg = j->parts.active;
    int rc = segment_use(seg);
    if (rc == 0)
        rc = io_write(seg->file.fd, bytes.p, bytes.n, seg->written);
    if (rc < 0)
        disk_failed(&j->store->disk, "write", segment_path(seg).s, rc);
    seg->written = seg->size;
    seg->file.dirty |= seg->written > seg->synced;     /* what the commit log has is synced when its file retires */
    j->marks.written = j->marks.tail;
    j->checkpoint.clean = false;
    j->store->stats.written_bytes += bytes.n;
}

void journal_write(struct journal *j)
{
    if (buf_size(&j->pending) == 0)
        return;
    journal_write_bytes(j, buf_slice(&j->pending));
    buf_clear(&j->pending);
    journal_unhold(j);
}

/* -- bytes that only memory and the commit log have ------------------------------------------------------- */

void journal_hold(struct journal *j)
{
    struct commit_queue *queue = &j->store->queue;
    queue->held_bytes += buf_size(&j->pending) - j->sync.held_bytes;
    j->sync.held_bytes = buf_size(&j->pending);
    if (!list_alone(&j->sync.held))
        return;
    list_push(&queue->held, &j->sync.held);
    queue->held_count++;
}

void journal_unhold(struct journal *j)
{
    struct commit_queue *queue = &j->store->queue;
    queue->held_count -= !list_alone(&j->sync.held);
    queue->held_bytes -= j->sync.held_bytes;
    list_remove(&j->sync.held);
    j->sync.held_bytes = 0;
}

void journal_write_held(struct journal *j)
{
    if (!list_alone(&j->sync.held) && !j->store->lost)
        journal_write(j);
}

bool store_write_held(struct store *s, bool old, unsigned most)
{
    struct commit_queue *queue = &s->queue;
    const struct list *end = old ? &queue->held_mark : &queue->held;
    for (;; most--) {
        struct list *first = queue->held.next;
        if (first == &queue->held_mark && !old)
            first = first->next;
        if (first == end || most == 0)
            return first == end;
        struct journal *j = LIST_OWNER(first, struct journal, sync.held);
        if (s->lost)
            journal_unhold(j);         /* its file is gone */
        else
            journal_write(j);
        if (j->marks.disk == j->marks.tail)
            buf_fini(&j->pending);     /* an idle topic keeps no buffer */
    }
}

/* Those that are held from now on come after the others. One of these that is read meanwhile leaves, and one more of
 * them is written. */
void store_write_files(struct store *s, size_t *left)
{
    *left = least(*left, s->queue.held_count);
    unsigned step = (unsigned)least(*left, COMMIT_WRITTEN_MAX);
    store_write_held(s, false, step);
    *left -= step;
}
