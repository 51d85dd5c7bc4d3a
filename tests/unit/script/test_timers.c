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

TEST(test_timers_run_again_and_again_until_they_are_stopped)
{
    host_open(&h, 0);
    host_eval(&h, "TICKS, SLOW = 0, 0\n"
                  "TIMERS = {{seconds = 0.001, where = 'a', fn = function() TICKS = TICKS + 1 error('no') end},\n"
                  "{seconds = 0.001, where = 'b', fn = function()\n"
                  "while true do SLOW = SLOW + 1 sleep(0.001) end end}}");
    timers_start(h.vm);
    timers_start(h.vm);
    host_eval(&h, "while SLOW < 2 do sleep(0.001) end");
    host_turns(&h, has_ticked);
    timers_stop(h.vm);                      /* the second one is running, and never ends by itself */
    CHECK_SLICE(host_eval(&h, "TICKS, SLOW = 0, 0 sleep(0.02) return TICKS + SLOW"), SLICE("0"));
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
