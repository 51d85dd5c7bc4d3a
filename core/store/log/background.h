/*
 * Work on a journal's files that takes many steps on the disk thread, with time between them for others: an audit, the
 * preparation of a truncation. It reads files while the journal is in use, so it must stop before they change.
 *
 *   waiting    background_run submits a step once it is due.
 *   running    a step is on the disk thread (`running`). After it kind->stepped is called, and it waits for the next
 *              one, unless the owner ends it.
 *   ended      by background_end: no more steps. It stays in its journal's list, and is stopped when that changes.
 *   stopping   a change came while a step was running (`stopping`).
 *   stopped    kind->stopped is called: it is in no list, and the owner frees it.
 *
 * It is in its store's list until it has ended or stopped, and in its journal's until a change comes or the owner
 * removes it. Embedded in its owner, which sets kind, dir, job.run and due_ns before background_begin.
 */
#ifndef STORE_LOG_BACKGROUND_H
#define STORE_LOG_BACKGROUND_H

#include "store/log/topic_dir.h"

struct background;

enum journal_change {
    JOURNAL_APPENDS,         /* batches are about to be added at the tail */
    JOURNAL_CHANGES,         /* files are about to be replaced, truncated or closed */
};

struct background_kind {
    bool appends_stop_it;                           /* JOURNAL_APPENDS is a change to it, too */
    void (*stepped)(struct background *b);
    void (*stopped)(struct background *b);
};

struct background {
    const struct background_kind *kind;
    struct topic_dir *dir;                          /* of the journal; outlives us: it counts its jobs */
    struct job job;                                 /* one step */
    struct list of_store, of_journal;
    uint64_t due_ns;                                /* of the next step; 0: at once */
    bool running, stopping;
};

void background_begin(struct background *b, struct list *of_store, struct list *of_journal);

/* No more steps. background_remove also takes it out of its journal's list. */
void background_end(struct background *b);
void background_remove(struct background *b);

/* Submits the steps that are due. */
void background_run(struct list *of_store);

/* When the next step is due: nanoseconds of clock_ns(), or 0 when no time has to be waited for. */
uint64_t background_deadline_ns(const struct list *of_store);

/* Stops one; or all that are under way on a journal that is about to change in this way. */
void background_cancel(struct background *b);
void background_stop(struct list *of_journal, enum journal_change change);

/* The first of a kind in a list that links it by of_store, or of_journal; or NULL. */
struct background *background_of_store(const struct list *of_store, const struct background_kind *kind);
struct background *background_of_journal(const struct list *of_journal, const struct background_kind *kind);

#endif
