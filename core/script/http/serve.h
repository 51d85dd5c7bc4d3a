/*
 * From requests to tasks: each request gets an exchange and a task that calls the handler.
 */
#ifndef SCRIPT_HTTP_SERVE_H
#define SCRIPT_HTTP_SERVE_H

#include "script/vm/vm.h"

/* For http_reserve. */
bool serve_is_reserved(slice path);

/* Starts a task for each request that http_next returns. */
void serve_accept(struct vm *vm);

#endif
