/*
 * The worlds: Lua states that have nothing in common but what is carried between them by copy (vm/carry.h).
 *
 *     core         runs the duties of a cluster and the console (scripts/lignum/duties.lua), until the process ends
 *     live         runs lignum.lua and the routes (scripts/lignum/init.lua); answers new requests
 *     loading      becomes live when its lignum.lua proves valid, by one assignment
 *     old          were live; finish the requests that they have, within a grace
 *     canary       judges a share of what the live one judges, and changes nothing (std/canary.h)
 *
 * Each has memory, tasks and timers of its own, and is closed as a whole: nothing of an earlier lignum.lua can be left.
 */
#ifndef SCRIPT_WORLDS_H
#define SCRIPT_WORLDS_H

#include "base/buf.h"
#include "script/vm/vm.h"

struct worlds;

struct worlds_options {
    struct vm_options vm;             /* scripts, config, set, check, tests; the texts outlive the worlds */
    /* A reload has ended: 0 with another live world, or -ERR_BAD_VALUE with one error a line and nothing changed. */
    void (*reloaded)(void *arg, int rc, slice why);
    void *arg;
};

/* Makes the core's world and a live one, which loads lignum.lua. 0; -ERR_SCRIPT..., which has been said; -ERR_BAD_VALUE
 * with one error a line in `why`. */
int worlds_new(const struct worlds_options *o, struct worlds **out, struct buf *why);
void worlds_free(struct worlds *w);

/* script_attach for all of them, those to come included. */
void worlds_attach(struct worlds *w, const struct services *services);

struct vm *worlds_core(const struct worlds *w);
struct vm *worlds_live(const struct worlds *w);

/* Begins a reload; after the one that is on, if there is one. */
void worlds_reload(struct worlds *w);
bool worlds_reloading(const struct worlds *w);

/* Step 2 of the turn: runs the tasks of all worlds, each for a bounded time, and ends reloads and old worlds. */
void worlds_run(struct worlds *w);
bool worlds_ready(const struct worlds *w);     /* whether any has tasks to run */

void worlds_stop(struct worlds *w);            /* tells the live one, then tasks_stop for all of them */
bool worlds_unloading(const struct worlds *w); /* whether the live one still runs what it was told so */
void worlds_end_tasks(struct worlds *w);       /* cancels all tasks; only worlds_free may follow */

#endif
