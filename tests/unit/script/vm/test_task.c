/* Tasks: their budget, waits and ends. Each Lua chunk is a task of its own; host_eval gives its first result. */
#include <fcntl.h>
#include <signal.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "base/exit_code.h"
#include "script/vm/budget.h"
#include "unit/host.h"
#include "unit/unit.h"

static struct host h;

static void open_host(uint32_t budget_ms)
{
    host_open(&h, 0);
    tasks_set_limits(vm_tasks(h.vm), 100, budget_ms);
}

#define CHECK_EVAL(code, text) CHECK_SLICE(host_eval(&h, code), SLICE(text))
#define CHECK_OVER_MS(code, line, ms)                                                     \
    do {                                                                                  \
        CHECK_EVAL(code, "a test failed: test:" line ": over its budget of " ms " ms");   \
        CHECK_EQ(h.rc, -ERR_SCRIPT_TIME);                                                 \
    } while (0)
#define CHECK_OVER(code, line) CHECK_OVER_MS(code, line, "20")

/* ---- the budget ---- */

TEST(test_an_endless_loop_ends_and_its_line_is_named)
{
    open_host(20);
    CHECK_OVER("\n\nwhile true do end", "3");
    host_close(&h);
}

TEST(test_pcall_cannot_hide_the_budget)
{
    open_host(20);
    CHECK_OVER("while true do pcall(function() while true do end end) end", "1");
    CHECK_OVER("while true do\n xpcall(function() while true do end end, function() while true do end end) end", "2");
    CHECK_OVER("local function again() pcall(again) return again() end again()", "1");
    host_close(&h);
}

TEST(test_nested_coroutines_cannot_hide_the_budget)
{
    open_host(20);
    CHECK_OVER("local function nest(n) while true do pcall(coroutine.wrap(nest), n + 1) end end nest(1)", "1");
    CHECK_OVER("while true do coroutine.resume(coroutine.create(function() while true do end end)) end", "1");
    CHECK_OVER("local co = coroutine.wrap(function() while true do coroutine.yield() end end) while true do co() "
               "end", "1");
    host_close(&h);
}

TEST(test_callbacks_of_c_functions_cannot_hide_the_budget)
{
    open_host(20);
    CHECK_OVER("while true do pcall(table.sort, {3, 2, 1}, function() while true do end end) end", "1");
    CHECK_OVER("while true do pcall(string.gsub, 'a', 'a', function() while true do end end) end", "1");
    CHECK_OVER("local t = setmetatable({}, {__index = function() while true do end end})\nreturn t.x", "1");
    host_close(&h);
}

TEST(test_a_budget_error_does_not_affect_the_next_tasks)
{
    open_host(20);
    for (int i = 0; i < 3; i++) {
        CHECK_OVER("table.sort({3, 2, 1}, function() while true do end end)", "1");
        CHECK_OVER("xpcall(function() while true do end end, print)", "1");
        CHECK_EVAL("local x = nil; return x.y", "a test failed: test:1: attempt to index a nil value (local 'x')");
        CHECK_EVAL("local n = 0; for i = 1, 1000 do n = n + i end; return n", "500500");
    }
    host_close(&h);
}

TEST(test_a_coroutine_that_outlives_a_budget_error_can_be_used)
{
    open_host(20);
    host_eval(&h, "CO = coroutine.create(function() while true do coroutine.yield('alive') end end)\n"
                  "while true do coroutine.resume(CO) end");
    CHECK_EQ(h.rc, -ERR_SCRIPT_TIME);
    host_eval(&h, "return coroutine.status(CO) == 'suspended' and select(2, coroutine.resume(CO))");
    CHECK_EQ(h.rc, 0);   /* it is chance whether the hook struck in it or in its caller */
    host_close(&h);
}

TEST(test_pending_close_variables_run_within_a_budget_of_their_own)
{
    open_host(20);
    CHECK_OVER("local x <close> = setmetatable({}, {__close = function() CLOSED = true end}) while true do end", "1");
    CHECK_EVAL("return CLOSED", "true");
    CHECK_OVER("local x <close> = setmetatable({}, {__close = function() while true do end end}) while true do "
               "end", "1");
    CHECK_OVER("local x <close> = setmetatable({}, {__close = function() while true do end end})\n"
               "table.sort({3, 2, 1}, function() while true do end end)", "2");
    host_close(&h);
}

TEST(test_time_while_parked_is_not_charged)
{
    open_host(20);
    CHECK_EVAL("local n = 0\n"
               "for i = 1, 12 do sleep(0.005) for j = 1, 200000 do n = n + 1 end end\n"
               "return n", "2400000");
    host_close(&h);
}

static void on_alarm(int signo)
{
    (void)signo;
    char text[256] = "";
    int fd = open("stderr", O_RDONLY);
    ssize_t n = read(fd, text, sizeof(text) - 1);
    close(fd);
    if (n > 0 && strstr(text, "watchdog: test:2: a test has been inside one call of C for 1 s") != NULL)
        _exit(42);
}

/* One call of C that compares long equal texts again and again. */
#define SORT_FOR_LONG "local t, s = {}, ('a'):rep(16 << 20) for i = 1, 1000 do t[i] = s end table.sort(t)"

static void sort_for_long(void)
{
    struct itimerval often = {{0, 100 * 1000}, {0, 100 * 1000}};
    dup2(open("stderr", O_CREAT | O_WRONLY, 0600), STDERR_FILENO);
    struct budget again;
    budget_init(&again, NULL);               /* timers are not inherited by a forked process */
    budget_fini(&again);
    open_host(1000);
    signal(SIGALRM, on_alarm);
    setitimer(ITIMER_REAL, &often, NULL);
    host_eval(&h, "\n" SORT_FOR_LONG);
}

static void stall(void)
{
    struct budget again;
    dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
    budget_init(&again, NULL);               /* timers are not inherited by a forked process */
    budget_fini(&again);
    open_host(1000);
    vm_set_stall(h.vm, 200);
    host_eval(&h, SORT_FOR_LONG);
}

TEST(test_a_call_of_c_that_takes_too_long_ends_the_process)
{
    CHECK_DIES(stall(), EXIT_SOFTWARE);
}

TEST(test_the_watchdog_names_a_task_that_is_stuck_in_c)
{
    CHECK_DIES(sort_for_long(), 42);
}

/* ---- slices ---- */

static int ended;                 /* how many tasks of clients have ended */
static int ended_before;          /* how many had ended when the broker's own task ended */

static int push_nothing(lua_State *L, void *arg)
{
    (void)arg;
    lua_getglobal(L, "tostring");
    lua_pushnil(L);
    return 1;
}

static void on_end(void *arg, const struct task_result *r)
{
    CHECK_EQ(r->rc, 0);
    if (arg == NULL)
        ended++;
    else
        ended_before = ended;
}

/* Runs `code` until another task, started after it, sets STOP: without slices the other one would never run. */
static void eval_beside_another(const char *code, const char *text)
{
    open_host(2000);
    h.operator_code = true;
    host_eval(&h, "STOP = nil");
    CHECK_EQ(host_start(&h, code), 0);
    tasks_run(vm_tasks(h.vm));
    CHECK_EQ(h.running, 1);
    h.operator_code = false;
    CHECK_EQ(host_start(&h, "STOP = true"), 0);
    tasks_run(vm_tasks(h.vm));
    host_turns(&h, host_idle);
    CHECK_SLICE(slice_from(h.text), slice_from(text));
    host_close(&h);
}

TEST(test_the_operators_code_gives_way_to_other_tasks_after_a_slice)
{
    eval_beside_another("local n = 0 while not STOP do n = n + 1 end return 'went on'", "went on");
}

TEST(test_code_gives_way_in_whatever_lua_runs_it)
{
    const char *const loops[] = {
        "local ok, v = pcall(function() while not STOP do end return 'fine' end) return v",
        "return select(2, xpcall(function() while not STOP do end return 'fine' end, print))",
        "return setmetatable({}, {__index = function() while not STOP do end return 'fine' end}).x",
        "return setmetatable({}, {__concat = function() while not STOP do end return 'fine' end}) .. 'x'",
        "return setmetatable({}, {__lt = function() while not STOP do end return true end}) < {} and 'fine'",
        "for v in function() while not STOP do end return 'fine' end do return v end",
        "local function down(n) if STOP then return n end return down(n + 1) end return down(1) > 1 and 'fine'",
        "do local x <close> = setmetatable({}, {__close = function() while not STOP do end end}) end return 'fine'",
        "local t = {(function() while not STOP do end return 'f', 'i', 'n', 'e' end)()} return table.concat(t)",
        "local function many(...) while not STOP do end return ... end return (string.rep(many('fine', 1)))",
        "local s = '' repeat s = 'fine' until STOP return s",
    };
    for (size_t i = 0; i < sizeof(loops) / sizeof(loops[0]); i++)
        eval_beside_another(loops[i], "fine");
}

TEST(test_code_gives_way_through_nested_coroutines)
{
    eval_beside_another("local inner = coroutine.wrap(function(a) while not STOP do end\n"
                        "  local b = coroutine.yield(a + 1) return a + b end)\n"
                        "local outer = coroutine.create(function() return inner(1), inner(2) end)\n"
                        "local ok, x, y = coroutine.resume(outer)\n"
                        "return x .. ' ' .. y .. ' ' .. coroutine.status(outer)", "2 3 dead");
}

TEST(test_a_coroutine_that_gave_way_cannot_be_resumed_by_another_task)
{
    open_host(2000);
    h.operator_code = true;
    host_start(&h, "CO = coroutine.create(function() while not STOP do end return 'end' end)\n"
                   "RESULT = select(2, coroutine.resume(CO))");
    tasks_run(vm_tasks(h.vm));
    CHECK_EQ(h.running, 1);
    host_start(&h, "FIRST = coroutine.resume(CO) STOP = true");
    host_turns(&h, host_idle);
    CHECK_EVAL("return tostring(FIRST) .. RESULT", "falseend");
    host_close(&h);
}

TEST(test_slices_count_together_until_the_task_waits)
{
    open_host(40);
    h.operator_code = true;
    CHECK_EVAL("\nwhile true do end", "a test failed: test:2: over its budget of 40 ms");
    CHECK_EVAL("while true do pcall(function() while true do end end) end",
               "a test failed: test:1: over its budget of 40 ms");
    CHECK_EVAL("for i = 1, 8 do sleep(0.001) local till = time.clock() + 0.02 while time.clock() < till do end end\n"
               "return 'in time'", "in time");
    host_close(&h);
}

TEST(test_the_cores_own_code_runs_on_to_its_next_wait)
{
    open_host(2000);
    host_start(&h, "local till = time.clock() + 0.05 while time.clock() < till do end FIRST = 1");
    tasks_run(vm_tasks(h.vm));
    CHECK_EQ(h.running, 0);
    host_close(&h);
}

TEST(test_code_runs_on_to_its_limit_where_it_cannot_give_way)
{
    open_host(40);
    h.operator_code = true;
    CHECK_OVER_MS("table.sort({3, 2, 1}, function() while true do end end)", "1", "40");
    CHECK_OVER_MS("string.gsub('a', 'a', function() while true do end end)", "1", "40");
    CHECK_EVAL("local t = {3, 2, 1} table.sort(t, function(a, b)\n"
               "  local till = time.clock() + 0.008 while time.clock() < till do end return a < b end)\n"
               "return table.concat(t)", "123");
    host_close(&h);
}

TEST(test_a_task_that_gave_way_can_be_cancelled)
{
    open_host(2000);
    h.operator_code = true;
    host_start(&h, "local x <close> = setmetatable({}, {__close = function() CLOSED = true end})\n"
                   "coroutine.wrap(function() while true do end end)()");
    tasks_run(vm_tasks(h.vm));
    CHECK_EQ(h.running, 1);
    task_cancel(vm_tasks(h.vm), h.ticket);
    CHECK_EQ(h.rc, -ERR_CANCELLED);
    CHECK_EQ(h.running, 0);
    CHECK_EVAL("return CLOSED", "true");
    host_close(&h);
}

TEST(test_what_computes_holds_up_neither_the_brokers_own_tasks_nor_those_of_clients)
{
    open_host(2000);
    struct tasks *ts = vm_tasks(h.vm);
    h.operator_code = true;
    for (int i = 0; i < 10; i++)
        host_start(&h, "local till = os.clock() + 0.1 while os.clock() < till do end");
    h.operator_code = false;
    tasks_run(ts);
    clock_t began = clock();                 /* of the CPU: others use the machine as well */
    struct task_options own = {.where = "own", .push = push_nothing, .done = on_end, .arg = NULL};
    ended = 0;
    CHECK_EQ(task_start(ts, &own, NULL), 0);
    while (ended == 0)
        tasks_run(ts);
    CHECK(clock() - began < CLOCKS_PER_SEC / 20);
    host_close(&h);
}

/* ---- memory ---- */

TEST(test_a_script_is_stopped_at_the_cap_of_memory_and_others_go_on)
{
    host_open(&h, 16 * MIB);
    tasks_set_limits(vm_tasks(h.vm), 100, 10 * 1000);   /* large strings are slow under the address sanitizer */
    CHECK_EVAL("local t = {}\nwhile true do t[#t + 1] = ('x'):rep(1000000) .. #t end",
               "a test failed: test:2: over the limit of 16 MiB for the memory of all scripts");
    CHECK_EQ(h.rc, -ERR_SCRIPT_MEMORY);
    CHECK_EVAL("return #('x'):rep(1000000)", "1000000");
    struct vm_stats stats;
    vm_stats(h.vm, &stats);
    CHECK(stats.memory <= 16 * MIB);
    host_close(&h);
}

/* Starts a task as a timer or a health check does; those of host_start are tasks of clients. */
static int run_own(const char *code, bool first)
{
    struct host_task *t = malloc(sizeof(*t));
    *t = (struct host_task){&h, code};
    struct task_options o = {
        .where = "a timer", .push = host_push, .done = host_done, .arg = t, .guest = first, .first = first};
    ENSURE(task_start(vm_tasks(h.vm), &o, NULL) == 0);
    h.running++;
    host_turns(&h, host_idle);
    return h.rc;
}

TEST(test_when_clients_have_taken_all_memory_timers_and_health_checks_have_some)
{
    static const char some[] = "local s = ('y'):rep(200 * 1024) return #s";
    host_open(&h, 16 * MIB);
    tasks_set_limits(vm_tasks(h.vm), 100, 10 * 1000);
    CHECK_EVAL("HOARD = {}\n"
               "for i = 1, 4 do collectgarbage() pcall(function()\n"
               "  while true do HOARD[#HOARD + 1] = ('x'):rep(i < 3 and 10000 or 1000) .. #HOARD end end) end\n"
               "collectgarbage() return #HOARD > 1000", "true");
    host_eval(&h, some);
    CHECK_EQ(h.rc, -ERR_SCRIPT_MEMORY);
    CHECK_EQ(run_own(some, false), 0);
    CHECK_EQ(run_own(some, true), 0);
    host_eval(&h, "HOARD = nil");
    host_close(&h);
}

TEST(test_a_script_may_catch_the_memory_error)
{
    host_open(&h, 16 * MIB);
    CHECK_EVAL("local ok, why = pcall(string.rep, 'x', 64 * 1024 * 1024)\nreturn why", "not enough memory");
    host_close(&h);
}

/* ---- waiting ---- */

TEST(test_tasks_run_in_the_order_in_which_they_became_ready)
{
    open_host(200);
    host_start(&h, "S = '' sleep(0.3) S = S .. 'c'");
    host_start(&h, "S = S .. '1' sleep(0.1) S = S .. 'a'");
    host_start(&h, "S = S .. '2' sleep(0.2) S = S .. 'b'");
    host_turns(&h, host_idle);
    CHECK_EVAL("return S", "12abc");
    host_close(&h);
}

TEST(test_tasks_that_use_their_time_let_the_loop_go_on_after_each)
{
    open_host(200);
    for (int i = 0; i < 3; i++)
        host_start(&h, "local till = time.clock() + 0.015 while time.clock() < till do end");
    for (int left = 2; left >= 0; left--) {
        tasks_run(vm_tasks(h.vm));
        CHECK_EQ(h.running, left);
    }
    host_close(&h);
}

TEST(test_the_brokers_own_tasks_and_those_of_clients_take_turns)
{
    open_host(200);
    struct tasks *ts = vm_tasks(h.vm);
    for (int first = 0; first < 2; first++) {
        struct task_options client = {.where = "a client", .push = push_nothing, .done = on_end, .guest = true};
        struct task_options own = {
            .where = "own", .push = push_nothing, .done = on_end, .arg = &h, .guest = first, .first = first};
        ended = 0;
        for (int i = 0; i < 20; i++)
            CHECK_EQ(task_start(ts, &client, NULL), 0);
        for (int i = 0; i < 5; i++)
            CHECK_EQ(task_start(ts, &own, NULL), 0);
        while (tasks_ready(ts))
            tasks_run(ts);
        CHECK_EQ(ended, 20);
        CHECK(ended_before >= 4 && ended_before <= 5);
    }
    host_close(&h);
}

TEST(test_a_wait_passes_through_pcall_iterators_and_metamethods)
{
    open_host(200);
    CHECK_EVAL("local ok, v = pcall(function() sleep(0.001) error('late', 0) end) return v", "late");
    CHECK_EVAL("for v in function() sleep(0.001) return 'next' end do return v end", "next");
    CHECK_EVAL("return setmetatable({}, {__index = function() sleep(0.001) return 'field' end}).x", "field");
    host_close(&h);
}

TEST(test_a_wait_passes_through_coroutines)
{
    open_host(200);
    CHECK_EVAL("local co = coroutine.wrap(function(a)\n"
               "  sleep(0.001) local b = coroutine.yield(a + 1)\n"
               "  local inner = coroutine.wrap(function() sleep(0.001) coroutine.yield(b * 10) sleep(0.001) end)\n"
               "  local c = inner() inner() return c end)\n"
               "return co(1) .. ' ' .. co(7)", "2 70");
    CHECK_EVAL("local co = coroutine.create(function() sleep(0.001) error('inside', 0) end)\n"
               "return tostring(select(2, coroutine.resume(co))) .. ' ' .. coroutine.status(co)", "inside dead");
    host_close(&h);
}

TEST(test_a_coroutine_that_waits_cannot_be_resumed)
{
    open_host(200);
    host_start(&h, "CO = coroutine.create(function() sleep(0.02) return 'slept' end)\n"
                   "RESULT = select(2, coroutine.resume(CO))");
    CHECK_EVAL("local ok, why = coroutine.resume(CO)\n"
               "local closed = pcall(coroutine.close, CO)\n"
               "while not RESULT do sleep(0.001) end\n"
               "return tostring(ok) .. tostring(closed) .. RESULT", "falsefalseslept");
    host_close(&h);
}

TEST(test_the_thread_of_a_task_cannot_be_resumed)
{
    open_host(200);
    host_start(&h, "SELF = coroutine.running() sleep(0.005) DONE = true");
    host_eval(&h, "RESULT = tostring(coroutine.resume(SELF)) .. tostring(pcall(coroutine.close, SELF))");
    CHECK_EVAL("return RESULT .. tostring(DONE)", "falsefalsetrue");
    CHECK_EVAL("coroutine.yield()", "a test failed: test:1: coroutine.yield outside of any coroutine");
    host_close(&h);
}

TEST(test_a_wait_where_no_yield_is_possible_says_so)
{
    open_host(200);
    CHECK_EVAL("table.sort({2, 1}, function(a, b) sleep(1) return a < b end)",
               "a test failed: test:1: this call waits, which cannot be done inside sort, require, __gc or "
               "__close");
    host_close(&h);
}

/* A binding of the test's own: parks with a timeout and returns how the wait ended. */
static struct task_ticket parked;

static int park_done(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    int rc = (int)lua_tointeger(L, -1);
    lua_pushstring(L, rc == 0 ? "woken" : err_name(rc));
    return 1;
}

static int l_park(lua_State *L)
{
    struct task *t = task_self(L);
    parked = task_ticket(t);
    return task_park(L, t, (uint32_t)luaL_checkinteger(L, 1), 0, park_done);
}

static void open_parker(void)
{
    open_host(200);
    lua_register(vm_state(h.vm), "park", l_park);
}

static bool has_parked(struct host *host)
{
    (void)host;
    return parked.generation != UINT32_MAX;
}

TEST(test_a_late_wake_is_refused)
{
    open_parker();
    parked.generation = UINT32_MAX;
    host_start(&h, "local a = park(0) local b = park(20) return a .. ' ' .. b");
    host_turns(&h, has_parked);
    struct task_ticket first = parked;
    CHECK(task_wake(vm_tasks(h.vm), first, 0));
    CHECK(!task_wake(vm_tasks(h.vm), first, 0));
    tasks_run(vm_tasks(h.vm));
    CHECK(!task_wake(vm_tasks(h.vm), first, 0));       /* it waits again: that is another wait */
    host_turns(&h, host_idle);
    CHECK_SLICE(slice_from(h.text), SLICE("woken timeout"));
    host_close(&h);
}

TEST(test_a_wake_for_a_task_that_has_ended_wakes_no_later_task)
{
    open_parker();
    parked.generation = UINT32_MAX;
    host_start(&h, "return park(0)");
    host_turns(&h, has_parked);
    struct task_ticket old = parked;
    task_cancel(vm_tasks(h.vm), h.ticket);
    CHECK_EQ(h.rc, -ERR_CANCELLED);
    parked.generation = UINT32_MAX;
    host_start(&h, "return park(0)");                  /* the same struct task, reused */
    host_turns(&h, has_parked);
    CHECK_EQ(parked.index, old.index);
    CHECK(!task_wake(vm_tasks(h.vm), old, 0));
    CHECK(task_wake(vm_tasks(h.vm), parked, 0));
    host_turns(&h, host_idle);
    CHECK_SLICE(slice_from(h.text), SLICE("woken"));
    host_close(&h);
}

TEST(test_timeouts_end_waits_in_the_order_of_their_times)
{
    open_host(200);
    host_eval(&h, "ORDER, LEFT = {}, 0");
    for (int i = 0; i < 40; i++)
        CHECK_EQ(host_start(&h, "LEFT = LEFT + 1 local ms = LEFT * 7919 % 41 sleep(ms / 100 + 0.05)\n"
                                "ORDER[#ORDER + 1] = ms"), 0);
    host_turns(&h, host_idle);
    CHECK_EVAL("for i = 2, #ORDER do if ORDER[i - 1] > ORDER[i] then return 'disorder at ' .. i end end return #ORDER",
               "40");
    host_close(&h);
}

TEST(test_the_time_of_an_earlier_wait_does_not_end_a_later_one)
{
    open_parker();
    parked.generation = UINT32_MAX;
    host_start(&h, "park(10) return park(60)");
    host_turns(&h, has_parked);
    CHECK(task_wake(vm_tasks(h.vm), parked, 0));
    uint64_t began = clock_ns();
    host_turns(&h, host_idle);
    CHECK_SLICE(slice_from(h.text), SLICE("timeout"));
    CHECK(clock_ns() - began >= 60 * NS_PER_MS);
    host_close(&h);
}

/* ---- ends ---- */

TEST(test_cancelling_runs_pending_close_variables)
{
    open_parker();
    parked.generation = UINT32_MAX;
    host_start(&h, "local x <close> = setmetatable({}, {__close = function() CLOSED = pcall(sleep, 1) end}) park(0)");
    host_turns(&h, has_parked);
    task_cancel(vm_tasks(h.vm), h.ticket);
    CHECK_EQ(h.rc, -ERR_CANCELLED);
    CHECK_EQ(h.running, 0);
    task_cancel(vm_tasks(h.vm), h.ticket);             /* it has ended: no effect */
    CHECK_EVAL("return CLOSED", "false");
    host_close(&h);
}

TEST(test_a_task_can_be_cancelled_before_it_has_begun)
{
    open_host(200);
    host_start(&h, "BEGUN = true");
    task_cancel(vm_tasks(h.vm), h.ticket);
    CHECK_EQ(h.rc, -ERR_CANCELLED);
    CHECK_EVAL("return BEGUN", "nil");
    host_close(&h);
}

TEST(test_stopping_ends_sleeps_now_and_later)
{
    open_host(200);
    host_start(&h, "sleep(60)");
    tasks_run(vm_tasks(h.vm));
    tasks_stop(vm_tasks(h.vm));
    host_turns(&h, host_idle);
    CHECK_SLICE(slice_from(h.text), SLICE("a test failed: test:1: the broker is shutting down"));
    CHECK_EVAL("sleep(60)", "a test failed: test:1: the broker is shutting down");
    host_close(&h);
}

TEST(test_the_operators_code_that_goes_on_waiting_while_the_broker_stops_is_cancelled)
{
    open_host(200);
    h.operator_code = true;
    host_start(&h, "COUNT = 0 while true do pcall(sleep, 60) COUNT = COUNT + 1 end");
    tasks_run(vm_tasks(h.vm));
    tasks_stop(vm_tasks(h.vm));
    host_turns(&h, host_idle);
    CHECK_EQ(h.rc, -ERR_CANCELLED);
    h.operator_code = false;
    CHECK_EVAL("return COUNT", "1");
    host_close(&h);
}

TEST(test_the_operators_code_whose_client_has_gone_ends_at_its_next_waits)
{
    const char *const waits[] = {
        "sleep(60) return 'slept'", "pcall(sleep, 60) return 'on'", "while true do pcall(sleep, 60) end",
        "local till = time.clock() + 0.02 while time.clock() < till do end sleep(60)"};
    const int ends[] = {-ERR_SCRIPT, 0, -ERR_CANCELLED, -ERR_SCRIPT};
    for (int i = 0; i < 4; i++) {
        open_host(200);
        h.operator_code = true;
        host_start(&h, waits[i]);
        tasks_run(vm_tasks(h.vm));
        task_left(vm_tasks(h.vm), h.ticket);
        host_turns(&h, host_idle);
        CHECK_EQ(h.rc, ends[i]);
        host_close(&h);
    }
}

static void end_nothing(void *arg, const struct task_result *r)
{
    (void)arg;
    CHECK_EQ(r->rc, 0);
}

TEST(test_more_guests_than_the_limit_are_refused_and_duties_are_not)
{
    open_host(200);
    tasks_set_limits(vm_tasks(h.vm), 2, 200);
    CHECK_EQ(host_start(&h, ""), 0);
    CHECK_EQ(host_start(&h, ""), 0);
    CHECK_EQ(host_start(&h, ""), -ERR_TOO_MANY);
    struct task_options duty = {.where = "a timer", .push = push_nothing, .done = end_nothing};
    CHECK_EQ(task_start(vm_tasks(h.vm), &duty, NULL), 0);
    host_turns(&h, host_idle);
    CHECK_EQ(host_start(&h, ""), 0);
    host_turns(&h, host_idle);
    host_close(&h);
}

static bool one_is_left(struct host *host)
{
    return host->running == 1;
}

TEST(test_guests_that_linger_leave_places_to_others_until_they_end)
{
    open_host(200);
    tasks_set_lingering(vm_tasks(h.vm), 1);
    CHECK_EVAL("local t = topic('t') t:create() return t:append('x')", "0");
    CHECK_EQ(host_start(&h, "local t = topic('t') t:wait(1, 0.2) sleep(0.2) return t:wait(1, 0.5)"), 0);
    CHECK_EQ(host_start(&h, "return select(3, topic('t'):wait(1, 60))"), 0);
    host_turns(&h, one_is_left);
    CHECK_SLICE(slice_from(h.text), SLICE("too_many_requests"));
    CHECK_EQ(host_start(&h, "sleep(0.3) return select(3, topic('t'):wait(1, 60))"), 0);   /* while the first sleeps */
    host_turns(&h, one_is_left);
    CHECK_SLICE(slice_from(h.text), SLICE("too_many_requests"));
    CHECK_EQ(host_start(&h, "return topic('t'):wait(0, 60)"), 0);       /* it can be read already: no wait */
    host_turns(&h, one_is_left);
    CHECK_SLICE(slice_from(h.text), SLICE("true"));
    host_turns(&h, host_idle);
    CHECK_EVAL("return select(3, topic('t'):wait(1, 0.001))", "timeout");
    host_close(&h);
}

TEST(test_a_hundred_thousand_tasks_leave_memory_flat)
{
    struct vm_stats before, after;
    open_host(200);
    for (int i = 0; i < 20; i++)
        host_eval(&h, "");
    lua_gc(vm_state(h.vm), LUA_GCCOLLECT);
    vm_stats(h.vm, &before);
    for (int i = 0; i < 100 * 1000; i++)
        host_eval(&h, i % 100 == 0 ? "error('x')" : "");
    lua_gc(vm_state(h.vm), LUA_GCCOLLECT);
    vm_stats(h.vm, &after);
    CHECK(after.memory < before.memory + 16 * KIB);
    host_close(&h);
}

TEST(test_a_burst_of_tasks_gives_its_coroutines_back)
{
    struct vm_stats before, after;
    open_host(200);
    tasks_set_limits(vm_tasks(h.vm), 5000, 200);
    vm_stats(h.vm, &before);
    for (int i = 0; i < 5000; i++)
        CHECK_EQ(host_start(&h, "sleep(0.001)"), 0);
    host_turns(&h, host_idle);
    lua_gc(vm_state(h.vm), LUA_GCCOLLECT);
    vm_stats(h.vm, &after);
    CHECK(after.memory < before.memory + 1 * MIB);
    host_close(&h);
}

TEST(test_a_hook_that_fails_is_named)
{
    open_host(200);
    CHECK_EVAL("where('on_publish') error('no')", "on_publish failed: test:1: no");
    CHECK_EVAL("where('on_publish') where(nil) error({})", "a test failed: an error value of type table");
    host_close(&h);
}
