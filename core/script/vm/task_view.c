#include "script/vm/task_state.h"
#include "script/vm/task.h"

bool tasks_view(const struct tasks *ts, unsigned *at, struct task_view *out)
{
    static const char *const states[] = {
        [TASK_IDLE] = "", [TASK_READY] = "ready", [TASK_RUNNING] = "running", [TASK_PARKED] = "waits"};
    while (*at < ts->count) {
        const struct task *t = ts->all[(*at)++];
        if (t->state == TASK_IDLE || !(t->guest || (t->operator_code && t->background)))
            continue;
        *out = (struct task_view){
            .ticket = {t->index, t->life}, .where = t->where, .hook = t->hook, .state = states[t->state],
            .began = t->began};
        return true;
    }
    return false;
}

void task_say_failure(enum say_level level, const struct task_result *r, const char *id)
{
    struct buf fields = {0};
    if (id != NULL)
        say_field(&fields, "id", slice_from(id));
    say_field(&fields, "trace", slice_from(r->trace));
    say_text(level, "script", slice_from(r->message), buf_slice(&fields));
    buf_fini(&fields);
}
