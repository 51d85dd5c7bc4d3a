/*
 * every() and the broker's own duties: functions of Lua that run as tasks, again and again.
 */
#ifndef SCRIPT_TIMERS_H
#define SCRIPT_TIMERS_H

#include "script/vm/vm.h"

/* Starts the timers that a world declares. Once. */
void timers_start(struct vm *vm);

/* Ends them; those that run are cancelled. */
void timers_stop(struct vm *vm);

#endif
