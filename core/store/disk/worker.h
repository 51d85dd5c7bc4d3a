/*
 * The disk thread. It runs one job at a time, so that the loop thread does not wait for the disk. Slow jobs, which may
 * take seconds, have a second thread, made with the first of them.
 *
 * A job is embedded in its owner. Its states:
 *
 *   idle       the owner's.
 *   queued     by worker_submit. Urgent jobs (group commits, which acknowledgements wait for) run before all others
 *              (sealing, preallocating, deleting, steps of an audit). A slow one waits for slow ones only.
 *   running    on its thread. `run` may use the job and what it points to, and nothing else of the store.
 *   finished   the event descriptor is readable. worker_collect, on the loop thread, makes the job idle and calls
 *              `done`, which may free the job or submit jobs.
 */
#ifndef STORE_DISK_WORKER_H
#define STORE_DISK_WORKER_H

#include "base/list.h"

struct job {
    struct list link;
    void (*run)(struct job *job);
    void (*done)(struct job *job);
    bool urgent, slow;
};

struct worker;

int worker_new(struct worker **out);      /* 0 or -errno */
void worker_free(struct worker *w);       /* all jobs must be idle */

/* Where no second thread can be made, the disk thread runs slow jobs too. */
void worker_submit(struct worker *w, struct job *job);
int worker_event_fd(const struct worker *w);

bool worker_is_busy(const struct worker *w);    /* some job is not idle */

/* Calls `done` for each finished job. */
void worker_collect(struct worker *w);

/* Collects until all jobs are idle, including those that `done` submitted. */
void worker_wait(struct worker *w);

#endif
