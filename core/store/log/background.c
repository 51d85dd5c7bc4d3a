#include "store/log/background.h"

#include "base/clock.h"

static void step_done(struct job *job)
{
    struct background *b = LIST_OWNER(job, struct background, job);
    b->running = false;
    b->dir->jobs--;
    if (!b->stopping) {
        b->kind->stepped(b);
        return;
    }
    list_remove(&b->of_store);
    b->kind->stopped(b);
}

void background_begin(struct background *b, struct list *of_store, struct list *of_journal)
{
    b->job.done = step_done;
    list_init(&b->of_store);
    list_init(&b->of_journal);
    list_push(of_store, &b->of_store);
    list_push(of_journal, &b->of_journal);
}

void background_end(struct background *b)
{
    list_remove(&b->of_store);
}

void background_remove(struct background *b)
{
    list_remove(&b->of_store);
    list_remove(&b->of_journal);
}

void background_run(struct list *of_store)
{
    LIST_EACH(node, of_store) {
        struct background *b = LIST_OWNER(node, struct background, of_store);
        if (b->running || (b->due_ns && clock_ns() < b->due_ns))
            continue;
        b->running = true;
        b->dir->jobs++;
        worker_submit(b->dir->disk->worker, &b->job);
    }
}

uint64_t background_deadline_ns(const struct list *of_store)
{
    uint64_t first = 0;
    for (const struct list *node = of_store->next; node != of_store; node = node->next) {
        const struct background *b = LIST_OWNER(node, struct background, of_store);
        if (!b->running && b->due_ns && (first == 0 || b->due_ns < first))
            first = b->due_ns;
    }
    return first;
}

void background_cancel(struct background *b)
{
    list_remove(&b->of_journal);
    b->stopping = true;
    if (b->running)
        return;
    list_remove(&b->of_store);
    b->kind->stopped(b);
}

void background_stop(struct list *of_journal, enum journal_change change)
{
    LIST_EACH(node, of_journal) {
        struct background *b = LIST_OWNER(node, struct background, of_journal);
        if (change == JOURNAL_CHANGES || b->kind->appends_stop_it)
            background_cancel(b);
    }
}

struct background *background_of_store(const struct list *of_store, const struct background_kind *kind)
{
    for (const struct list *node = of_store->next; node != of_store; node = node->next) {
        struct background *b = LIST_OWNER(node, struct background, of_store);
        if (b->kind == kind)
            return b;
    }
    return NULL;
}

struct background *background_of_journal(const struct list *of_journal, const struct background_kind *kind)
{
    for (const struct list *node = of_journal->next; node != of_journal; node = node->next) {
        struct background *b = LIST_OWNER(node, struct background, of_journal);
        if (b->kind == kind)
            return b;
    }
    return NULL;
}
