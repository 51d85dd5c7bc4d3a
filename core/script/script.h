/*
 * The script layer as main sees it, with worlds.h. main also calls serve_accept and serve_calls in each turn,
 * timers_start after each load, and vm_config_* for the live configuration.
 */
#ifndef SCRIPT_SCRIPT_H
#define SCRIPT_SCRIPT_H

#include "script/cluster/serve_calls.h"
#include "script/http/serve.h"
#include "script/std/meters.h"
#include "script/std/shared.h"
#include "script/std/sync.h"
#include "script/timers.h"
#include "script/vm/task.h"
#include "script/vm/vm.h"

/* vm_new with everything that scripts see; `o.open` is set here. vm_free ends it. */
int script_new(struct vm_options o, struct vm **out);

/* vm_attach, and the counters of the routes. */
void script_attach(struct vm *vm, const struct services *services);

/* From now on the requests whose heads arrive are judged by the routes of this one. */
void script_serve(struct vm *vm);

/* An error as application/problem+json, for http_on_error. */
void script_render_error(struct buf *out, const struct http_refusal *refusal, struct http_answer *answer);

#endif
