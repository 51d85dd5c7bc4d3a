#include "script/std/canary.h"

#include "base/say.h"
#include "script/vm/task.h"

enum {
    FAILED_LEAST = 10,                /* messages, before it is aborted, */
    FAILED_SHARE = 20,                /* if 1 in so many has failed */
};

void canary_init(struct canary *c, const struct vm_options *options)
{
    *c = (struct canary){.options = *options};
    c->options.init = "replaying";
    c->options.world = "canary";
    c->options.memory_reserve = 0;
    c->options.tests = NULL;
}

void canary_end(struct canary *c)
{
    if (c->vm != NULL)
        vm_free(c->vm);
    c->vm = NULL;
    c->state = CANARY_OFF;
    buf_clear(&c->why);
}

void canary_fini(struct canary *c)
{
    canary_end(c);
    buf_fini(&c->why);
}

static void on_loaded(void *arg, int rc, slice why)
{
    struct canary *c = arg;
    c->state = rc == 0 ? CANARY_ON : CANARY_REFUSED;   /* its task is on the way out: canary_run frees the world */
    buf_add_slice(&c->why, why);
}

void canary_begin(struct canary *c, const struct services *services)
{
    canary_end(c);
    c->judged = c->failed = c->skipped = 0;
    if (vm_new(&c->options, &c->vm) < 0) {
        c->state = CANARY_REFUSED;
        buf_addf(&c->why, "the scripts of Lignum cannot be loaded");
        return;
    }
    vm_attach_apart(c->vm, services);
    c->state = CANARY_LOADING;
    vm_load_begin(c->vm, on_loaded, c);
}

bool canary_ready(const struct canary *c)
{
    return c->vm != NULL && tasks_ready(vm_tasks(c->vm));
}

void canary_run(struct canary *c)
{
    if (c->vm == NULL)
        return;
    tasks_run(vm_tasks(c->vm));
    if (c->state == CANARY_REFUSED) {
        vm_free(c->vm);
        c->vm = NULL;
    }
}

void canary_judged(struct canary *c, const char *failure)
{
    c->judged++;
    c->failed += failure != NULL;
    if (failure == NULL || c->state != CANARY_ON || c->failed < FAILED_LEAST || c->failed * FAILED_SHARE < c->judged)
        return;
    c->state = CANARY_ABORTED;
    buf_clear(&c->why);
    buf_addf(&c->why, "%llu of %llu messages have failed: %s", (unsigned long long)c->failed,
             (unsigned long long)c->judged, failure);
    say_error("script", "the canary is aborted: %.*s", SLICE_ARGS(buf_slice(&c->why)));
}
