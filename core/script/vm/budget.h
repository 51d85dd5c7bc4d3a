/*
 * A budget of CPU time for each run of Lua: how long scripts may compute between two waits. And its slices: after one,
 * a task gives way to others (task.c), if the run's code may be interrupted.
 *
 * A timer on the thread's CPU clock sends a signal every few milliseconds that the thread computes. An idle or waiting
 * broker gets no signals, and code within its budget pays nothing. Once a run has used up its budget, the signal
 * handler sets a hook on every Lua thread of the run, as lua.c does for Ctrl-C.
 *
 * The hook of a run that is over yields out of the task, which is never resumed: no pcall catches a yield, and the
 * task's pending <close> variables are closed when its thread is reset. Where a yield is impossible (in sort, in a
 * metamethod that C calls) the hook raises Lua's own memory error, at each instruction from then on; a memory error
 * calls no message handler, in which hooks would be off. The caller that began the run reports the real cause.
 *
 * States:
 *     idle      top == NULL              no Lua runs; signals only count ticks
 *     running   top != NULL, !over       from budget_begin on
 *     over      top != NULL, over        set by the signal handler, and kept until budget_end: budget_push arms the
 *                                        hook on each further thread
 * While it is running, `due` says that its slice is used up; the hook, which is then set on the innermost thread alone,
 * clears it, and the next slice begins.
 *
 * Invariants: the frames from `top` down are the threads that are inside lua_resume or lua_pcall, innermost first.
 * `top` is NULL while `began`, `limit` and `over` change hands, so the handler never sees one run's start with another
 * run's limit. The handler writes ticks, lua_ticks, over, due and told; everything else is written outside of it,
 * except that the hook clears `due`.
 */
#ifndef SCRIPT_VM_BUDGET_H
#define SCRIPT_VM_BUDGET_H

#include <lua.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "base/slice.h"
#include "script/vm/raise.h"

enum { PLACE_MAX = 160 };

struct profile;

/* One Lua thread that is inside lua_resume or lua_pcall; lives on the C stack of that call's caller. */
struct budget_frame {
    lua_State *L;
    struct budget_frame *below;         /* the thread that resumed this one; NULL for the first of a run */
};

/* Shared with the signal handler, hence the volatiles. */
struct budget {
    struct budget_frame *volatile top;  /* the innermost frame */
    const char *volatile where;         /* what runs, for the watchdog's line; ends with a NUL at any moment */
    volatile unsigned ticks;            /* of CPU time since the start */
    volatile unsigned began, limit;     /* the run's first tick and how many it may use */
    volatile unsigned lua_ticks;        /* ticks during which Lua ran */
    volatile unsigned slice;            /* the tick at which the slice began, or the hook struck last */
    volatile unsigned stall;            /* ticks after which one call of C ends the process; 0: never */
    volatile sig_atomic_t over, due;
    volatile sig_atomic_t sampling;     /* each tick sets `sample` and the hook, which notes the stack (profile.h) */
    volatile sig_atomic_t sample;
    volatile sig_atomic_t told;         /* the watchdog has written its line about this run */
    lua_Hook hook;                      /* calls budget_on_hook */
    int lines;                          /* LUA_MASKLINE: the hook is also called for each line (coverage.h); or 0 */
    struct profile *profile;            /* owned; NULL: none is taken */
    char place[PLACE_MAX];              /* "lignum.lua:12: ", where the hook first struck; "" until then */
    timer_t timer;
    uint64_t exceeded;                  /* runs that went over */
};

/* Runs nest, because cancelling a task from a task runs the cancelled one's <close> variables. */
struct budget_run {
    struct budget_frame frame;
    /* The outer run, suspended until this one ends: */
    struct budget_frame *outer;
    const char *where;
    unsigned began, limit;
    sig_atomic_t over;
};

/* In a process that was forked, where timers are not inherited: begins with one of its own. 0, or -errno. */
int budget_begin_again(struct budget *b);

/* `hook` finds the budget of its lua_State and calls budget_on_hook. 0, or -errno. */
int budget_init(struct budget *b, lua_Hook hook);
void budget_fini(struct budget *b);

/* For the hook. Ends a run that is over; otherwise takes the hook off, and returns whether the slice is used up. */
MAY_RAISE bool budget_on_hook(struct budget *b, lua_State *L);

/* For the hook, before budget_on_hook: whether the stack is to be noted; *only: nothing else is due, and the hook is
 * off again. */
bool budget_takes_sample(struct budget *b, lua_State *L, bool *only);

/* Around a lua_resume or lua_pcall that begins a run of `L`. budget_end returns whether the run went over. */
void budget_begin(struct budget *b, struct budget_run *run, lua_State *L, uint32_t budget_ms);
bool budget_end(struct budget *b, struct budget_run *run);

/* Within a run: the ticks that it has used, and charging it with those of earlier slices. */
unsigned budget_used(const struct budget *b);
void budget_charge(struct budget *b, unsigned ticks);

/* Around a lua_resume within a run: `L` is one more thread of it. */
void budget_push(struct budget *b, struct budget_frame *frame, lua_State *L);
void budget_pop(struct budget *b, const struct budget_frame *frame);

/* Before budget_on_hook in a run that is over: it matches this pattern. */
void budget_place(struct budget *b, lua_State *L, slice pattern);

/* Ends a C function whose run is over: `return budget_stop(b, L)`. */
MAY_RAISE int budget_stop(struct budget *b, lua_State *L);

/* One call of C that takes so long (of CPU time) ends the process; 0: never. */
void budget_set_stall(struct budget *b, uint32_t ms);

uint64_t budget_lua_ns(const struct budget *b);

/* Whether a function, as lua_getinfo has described it with "S", is of Lignum's own scripts in this directory. */
bool is_own_script(const char *scripts, const lua_Debug *ar);

/* Writes "file:line: " of the innermost Lua function that runs on L, if there is one of the operator's, otherwise of
 * Lignum's; "" when only C functions run. */
void innermost_line(lua_State *L, char place[PLACE_MAX]);

#endif
