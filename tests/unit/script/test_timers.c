/* Timers: functions that run again and again as tasks, and end with the configuration that declared them. */
#include "unit/host.h"
#include "unit/unit.h"

static struct host h;

static bool has_ticked(struct host *host)
{
    lua_getglobal(vm_state(host->vm), "TICKS");
    lua_Integer n = lua_tointeger(vm_state(host->vm), -1);
    lua_pop(vm_state(host->vm), 1);
    return n >= 3;
}

TEST(test_timers_run_again_and_again_and_end_with_their_configuration)
{
    host_open(&h, 0);
    host_eval(&h, "TICKS, OLD = 0, 0\n"
                  "TIMERS = {{seconds = 0.001, where = 'a', fn = function() OLD = OLD + 1\n"
                  "if OLD > 1 then sleep(0.01) end error('old') end}}");
    timers_start(h.vm);
    host_eval(&h, "while OLD < 2 do sleep(0.001) end\n"
                  "TIMERS = {{seconds = 0.001, where = 'b', fn = function() TICKS = TICKS + 1 end}}");
    timers_start(h.vm);
    host_eval(&h, "OLD = 0 sleep(0.02)");   /* the old timer was running when it was retired */
    host_turns(&h, has_ticked);
    CHECK_SLICE(host_eval(&h, "return OLD"), SLICE("0"));
    host_close(&h);
}

TEST(test_a_timer_never_runs_twice_at_once)
{
    host_open(&h, 0);
    host_eval(&h, "TICKS, RUNNING, MOST = 0, 0, 0\n"
                  "TIMERS = {{seconds = 0.001, where = 'a', fn = function() RUNNING = RUNNING + 1\n"
                  "MOST = math.max(MOST, RUNNING) sleep(0.01) RUNNING = RUNNING - 1 TICKS = TICKS + 1 end}}");
    timers_start(h.vm);
    host_turns(&h, has_ticked);
    CHECK_SLICE(host_eval(&h, "return MOST"), SLICE("1"));
    host_close(&h);
}
