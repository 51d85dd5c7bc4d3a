/*
 * A canary: a world that judges a share of the live messages by another version of lignum.lua, beside the live one. It
 * changes nothing: it is a world of scripts/lignum/replaying.lua, which has no services.
 *
 * States:
 *     off                            no world
 *     loading     canary_begin       its lignum.lua is loaded, as a task; -> on, refused
 *     on                             what it is shown (l_canary.c) becomes a task of it
 *     aborted                        too many messages have failed in it: it is shown no more, and keeps its report
 *     refused                        lignum.lua has a mistake, which `why` says
 * canary_end leads from any state to off; a reload that succeeds does, too.
 */
#ifndef SCRIPT_STD_CANARY_H
#define SCRIPT_STD_CANARY_H

#include "base/buf.h"
#include "script/vm/vm.h"

enum canary_state { CANARY_OFF, CANARY_LOADING, CANARY_ON, CANARY_ABORTED, CANARY_REFUSED };

struct canary {
    struct vm_options options;        /* of its world */
    enum canary_state state;
    struct vm *vm;                    /* owned; NULL when off or refused */
    struct buf why;                   /* refused, aborted */
    uint64_t judged, failed, skipped;
};

/* `options`: as for the live world, whose lignum.lua is loaded again; with `open` and `first`. */
void canary_init(struct canary *c, const struct vm_options *options);
void canary_fini(struct canary *c);

void canary_begin(struct canary *c, const struct services *services);
void canary_end(struct canary *c);

/* In the turn: runs its tasks, for a bounded time. */
void canary_run(struct canary *c);
bool canary_ready(const struct canary *c);

/* A message was judged; NULL: in the same way. With the error where its hook has failed. */
void canary_judged(struct canary *c, const char *failure);

#endif
