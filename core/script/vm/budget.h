/*
 * How long Lua may run without waiting.
 *
 * A timer of the thread's CPU time sends a signal every few milliseconds that this thread computes; an idle or waiting
 * broker gets none, and code within its budget pays nothing. When a run is over its budget the handler sets a hook on
 * every Lua thread of the run, as lua.c does for Ctrl-C.
 *
 * The hook yields out of the task, which is then never resumed: no pcall sees a yield, and the task's pending <close>
 * variables are closed when its thread is reset. Where a yield is not possible (in sort, gsub, while loading) it
 * raises, at each instruction from then on, Lua's own memory error: that one calls no message handler, in which hooks
 * would be off. Who began the run says what it really was.
 */
#ifndef SCRIPT_VM_BUDGET_H
#define SCRIPT_VM_BUDGET_H

#include <lua.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

/* One Lua thread that is inside lua_resume or lua_pcall; lives on the C stack of who called that. */
struct budget_frame {
    lua_State *L;
    struct budget_frame *below;       /* who resumed it, NULL for the first thread of the run */
};

/* Shared with the signal handler, hence the volatiles. */
struct budget {
    struct budget_frame *volatile top;  /* innermost; NULL: no Lua runs */
    const char *volatile where;         /* what runs, for the watchdog */
    volatile unsigned ticks, began, limit;
    volatile unsigned lua_ticks;        /* those during which Lua ran */
    volatile sig_atomic_t over, told;
    char place[96];                     /* "lignum.lua:12: ", where the hook struck first; "" before that */
    timer_t timer;
    uint64_t exceeded;                  /* runs that were ended so */
};

struct budget_run {
    struct budget_frame frame;
    struct budget_frame *outer;         /* a run may begin within another: cancelling a task from a task */
    const char *where;
    unsigned began, limit;
    sig_atomic_t over;
};

int budget_init(struct budget *b);
void budget_fini(struct budget *b);

/* A run of `L` begins and ends; they nest. budget_end says whether it went over. */
void budget_begin(struct budget *b, struct budget_run *run, lua_State *L, uint32_t budget_ms);
bool budget_end(struct budget *b, struct budget_run *run);

/* A further thread of the same run: around each lua_resume that a script asks for. */
void budget_push(struct budget *b, struct budget_frame *frame, lua_State *L);
void budget_pop(struct budget *b, const struct budget_frame *frame);

/* In a C function that has to end because the run is over: `return budget_stop(L)`. */
int budget_stop(lua_State *L);

uint64_t budget_lua_ns(const struct budget *b);

#endif
