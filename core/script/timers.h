/*
 * every() and the broker's own duties: functions of Lua that run as tasks, again and again.
 */
#ifndef SCRIPT_TIMERS_H
#define SCRIPT_TIMERS_H

#include "script/vm/vm.h"

/* Starts the timers that the live configuration declares, and ends those of the one before. Duties are declared once
 * and go on. */
void timers_start(struct vm *vm);

#endif
