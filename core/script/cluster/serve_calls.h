/*
 * Calls of followers: each runs the entry point `called` (scripts/lignum/leader.lua) in a task.
 */
#ifndef SCRIPT_CLUSTER_SERVE_CALLS_H
#define SCRIPT_CLUSTER_SERVE_CALLS_H

#include "script/vm/vm.h"

/* Starts a task for each call that has arrived. */
void serve_calls(struct vm *vm);

#endif
