/*
 * The one disk thread: it runs jobs, one at a time, so that the loop never waits for the disk.
 *
 * A job is embedded in its owner. `run` is called on the disk thread and touches nothing but the job; `done` is
 * called on the loop thread, from worker_collect, and may submit more. Urgent jobs (rounds of fdatasync, which
 * acknowledgements wait for) overtake the others (sealing, spare files, unlinking). Completions are made known
 * through an eventfd.
 */
#ifndef STORE_DISK_WORKER_H
#define STORE_DISK_WORKER_H

#include "base/list.h"

struct job {
    struct list link;
    void (*run)(struct job *job);
    void (*done)(struct job *job);   /* owns the job again */
    bool urgent;
};

struct worker;

int worker_new(struct worker **out);      /* 0 or -errno */
void worker_free(struct worker *s);       /* nothing may be under way */

void worker_submit(struct worker *s, struct job *job);
int worker_event_fd(const struct worker *s);

/* Calls `done` for all that has finished. */
void worker_collect(struct worker *s);

/* Waits until nothing is under way, not even what `done` submitted. */
void worker_wait(struct worker *s);

#endif
