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
