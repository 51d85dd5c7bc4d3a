/*
 * What main needs of the script layer beyond the VM and tasks: requests go in, timers run.
 */
#ifndef SCRIPT_SCRIPT_H
#define SCRIPT_SCRIPT_H

#include "script/vm/task.h"

/* Step 2 begins: every request that http_next has becomes a task that calls handle(request) and answers. */
void script_accept(struct vm *vm);

/* Starts the timers that the live configuration declares with every(), ending those of the one before. */
void script_start_timers(struct vm *vm);

/* An error as application/problem+json; installed as the HTTP server's http_render_error. */
void script_render_error(struct buf *out, int error, slice detail, struct http_answer *answer);

#endif
