/* The Lua state: what scripts may use, loading, and the live configuration. */
#include <time.h>

#include "unit/host.h"
#include "unit/unit.h"

static struct host h;

#define CHECK_EVAL(code, text) CHECK_SLICE(host_eval(&h, code), SLICE(text))

TEST(test_bytecode_is_never_loaded)
{
    host_open(&h, 0);
    CHECK_EVAL("return tostring(string.dump)", "nil");
    CHECK_EVAL("return (select(2, load('\\27Lua', 'x', 'b')))", "attempt to load a binary chunk (mode is 't')");
    CHECK_EVAL("local parts = {'\\27Lua'} return (select(2, load(function() return table.remove(parts) end)))",
               "attempt to load a binary chunk (mode is 't')");
    host_write("scripts/evil.lua", "\x1bLuaS");
    CHECK_EVAL("return select(2, pcall(require, 'evil')):match('binary chunk')", "binary chunk");
    CHECK_EVAL("return (select(2, loadfile('scripts/evil.lua', 'b'))):match('binary chunk')", "binary chunk");
    CHECK_EVAL("return (select(2, pcall(dofile, 'scripts/evil.lua'))):match('binary chunk')", "binary chunk");
    host_close(&h);
}

TEST(test_functions_that_reach_outside_are_off_unless_asked_for)
{
    host_open(&h, 0);
    CHECK_EVAL("local t = {} for name in pairs(os) do t[#t + 1] = name end table.sort(t) return table.concat(t, ' ')",
               "clock date difftime getenv time");
    CHECK_EVAL("local t = {} for name in pairs(io) do t[#t + 1] = name end table.sort(t) return table.concat(t, ' ')",
               "lines open type");
    CHECK_EVAL("local t = {} for name in pairs(debug) do t[#t + 1] = name end return table.concat(t, ' "
               "')", "traceback");
    CHECK_EVAL("return tostring(package.loadlib) .. tostring(package.loaded.os.execute)", "nilnil");
    CHECK_EVAL("return (select(2, pcall(io.open, 'x', 'w')))",
               "io.open(path [, \"r\" | \"rb\"]): scripts only read files");
    CHECK_EVAL("return type(require('lignum.core').unsafe.execute)", "function");
    host_close(&h);
}

TEST(test_one_call_of_c_is_bounded)
{
    host_open(&h, 0);
    mkfifo("fifo", 0600);
    CHECK_EVAL("return tostring(io.open('fifo'))", "nil");
    CHECK_EVAL("return select(2, io.open('fifo'))", "fifo: not a regular file");
    CHECK_EVAL("return (select(2, pcall(io.lines, 'fifo')))", "fifo: not a regular file");
    CHECK_EVAL("return select(2, io.open('/dev/zero'))", "/dev/zero: not a regular file");
    CHECK_EVAL("return io.open('scripts/lignum/init.lua'):read(5)", "for n");
    CHECK_EVAL("return #(''):rep(1 << 62)", "0");
    CHECK_EVAL("return (select(2, pcall(string.rep, 'x', 1 << 40)))",
               "string.rep: the result would have more than 67108864 bytes");
    CHECK_EVAL("return (select(2, pcall(string.rep, 'x', 1 << 40, 'y')))",
               "string.rep: the result would have more than 67108864 bytes");
    CHECK_EVAL("return ('ab'):rep(3, ',') .. ('x'):rep(0) .. ('x'):rep(-1)", "ab,ab,ab");
    CHECK_EVAL("return (select(2, pcall(table.move, {}, 1, math.maxinteger - 1, 2)))",
               "more than 16000000 items in one call");
    CHECK_EVAL("return (select(2, pcall(table.move, {}, math.mininteger, math.maxinteger - 1, 2)))",
               "more than 16000000 items in one call");
    CHECK_EVAL("return table.concat(table.move({1, 2, 3}, 1, 3, 2))", "1123");
    CHECK_EVAL("local t = setmetatable({}, {__len = function() return 1 << 60 end,\n"
               "  __index = function() return '' end})\n"
               "return (select(2, pcall(table.concat, t))) .. (select(2, pcall(table.insert, t, 1, 1)))\n"
               "  .. (select(2, pcall(table.remove, t, 1)))",
               "more than 16000000 items in one callmore than 16000000 items in one call"
               "more than 16000000 items in one call");
    CHECK_EVAL("local t = setmetatable({}, {__len = function() return 1 << 60 end})\n"
               "return (select(2, pcall(table.sort, t)))", "more than 16000000 items in one call");
    CHECK_EVAL("local t = {} for i = 1, 3000 do t[i] = i * 7919 % 3000 end table.sort(t) local n = 0\n"
               "for i = 2, #t do n = n + (t[i - 1] <= t[i] and 1 or 0) end return n", "2999");
    CHECK_EVAL("local t = {3, 1, 2} table.sort(t, function(a, b) return a > b end) return table.concat(t)", "321");
    CHECK_EVAL("local t = {} table.insert(t, 'b') table.insert(t, 1, 'a') return table.concat(t, '-') .. "
               "table.remove(t) .. #t", "a-bb1");
    host_close(&h);
}

TEST(test_a_wrong_argument_is_told_with_the_name_of_the_function_and_the_line)
{
    host_open(&h, 0);
    CHECK_EVAL("table.insert({}, 1, 2, 3)", "a test failed: test:1: wrong number of arguments to 'insert'");
    CHECK_EVAL("local t\ntable.concat({{}})",
               "a test failed: test:2: invalid value (table) at index 1 in table for 'concat'");
    CHECK_EVAL("table.insert(1, 2)",
               "a test failed: test:1: bad argument #1 to 'insert' (table expected, got number)");
    CHECK_EVAL("\nreturn os.time({})", "a test failed: test:2: field 'year' missing in date table");
    CHECK_EVAL("return os.date('%Ez', {})",
               "a test failed: test:1: bad argument #2 to 'date' (number expected, got table)");
    CHECK_EVAL("return ('x'):rep(2, {})",
               "a test failed: test:1: bad argument #2 to 'rep' (string expected, got table)");
    CHECK_EVAL("setmetatable({}, 1)",
               "a test failed: test:1: bad argument #2 to 'setmetatable' (nil or table expected, got number)");
    CHECK_EVAL("return tostring(select(2, pcall(table.remove, {1, 2}, 7)))",
               "bad argument #1 to 'table.remove' (position out of bounds)");
    host_close(&h);
}

/* Without a function, sort compares in C, where no hook strikes. Each comparison here takes long. */
TEST(test_a_sort_ends_with_the_budget)
{
    host_open(&h, 0);
    tasks_set_limits(vm_tasks(h.vm), TASKS_MAX, 50);
    clock_t begun = clock();                 /* of the CPU */
    CHECK_EVAL("local t, s = {}, ('a'):rep(1 << 20) for i = 1, 2000 do t[i] = s end sleep(0.001)\ntable.sort(t)",
               "a test failed: test:2: over its budget of 50 ms");
    CHECK(clock() - begun < CLOCKS_PER_SEC / 2);
    host_close(&h);
}

TEST(test_scripts_cannot_have_finalizers)
{
    host_open(&h, 0);
    CHECK_EVAL("setmetatable({}, {__gc = function() while true do end end})",
               "a test failed: test:1: finalizers (__gc) are not available in Lignum's scripts; use `local x <close>`");
    CHECK_EVAL("return getmetatable(setmetatable({}, {__index = 'x'})).__index", "x");
    host_close(&h);
}

TEST(test_load_keeps_chunk_name_and_environment)
{
    host_open(&h, 0);
    CHECK_EVAL("return load('return x', '=c', nil, {x = 7})()", "7");
    CHECK_EVAL("return (select(2, pcall(load('error(1 .. x)', '@f.lua'))))",
               "f.lua:1: attempt to concatenate a nil value (global 'x')");
    CHECK_EVAL("local n = 0 for line in io.lines('scripts/lignum/init.lua') do n = n + 1 end return n > 3", "true");
    host_close(&h);
}

TEST(test_a_failed_load_says_why)
{
    struct buf why = {0};
    host_open(&h, 0);
    CHECK_EQ(vm_load(h.vm, &why), 0);
    host_eval(&h, "function LOAD(o) error('lignum.lua:1: a\\nlignum.lua:2: b', 0) end");
    CHECK_EQ(vm_load(h.vm, &why), -ERR_BAD_VALUE);
    CHECK_SLICE(buf_slice(&why), SLICE("lignum.lua:1: a\nlignum.lua:2: b"));
    buf_fini(&why);
    host_close(&h);
}

TEST(test_calls_that_act_are_refused_while_loading)
{
    struct buf why = {0};
    host_open(&h, 0);
    host_eval(&h, "function LOAD(o) topic('t') end");
    CHECK_EQ(vm_load(h.vm, &why), -ERR_BAD_VALUE);
    CHECK(memmem(why.data, buf_size(&why), "not while loading", 17) != NULL);
    buf_clear(&why);
    host_eval(&h, "function LOAD(o) sleep(1) end");
    CHECK_EQ(vm_load(h.vm, &why), -ERR_BAD_VALUE);
    CHECK(memmem(why.data, buf_size(&why), "not while loading", 17) != NULL);
    CHECK_EVAL("topic('t') return 'fine'", "fine");
    buf_fini(&why);
    host_close(&h);
}

TEST(test_configuration_is_read_by_path)
{
    struct buf text = {0};
    host_open(&h, 0);
    host_eval(&h, "CONFIG = {['a.b'] = 'text', ['a.n'] = 2.5, ['a.f'] = false, ['a.i'] = 80}");
    CHECK(vm_config_text(h.vm, "a.b", &text));
    CHECK_SLICE(buf_slice(&text), SLICE("text"));
    CHECK(!vm_config_text(h.vm, "a.x", &text));
    CHECK(vm_config_text(h.vm, "a.i", &text));
    CHECK_SLICE(buf_slice(&text), SLICE("text80"));
    CHECK(vm_config_number(h.vm, "a.n", 1) > 2.4);
    CHECK_EQ((int)vm_config_number(h.vm, "a.b", 7), 7);
    CHECK(!vm_config_flag(h.vm, "a.f", true));
    CHECK(vm_config_flag(h.vm, "a.x", true));
    buf_fini(&text);
    host_close(&h);
}

TEST(test_wrong_calls_raise_the_usage_line)
{
    host_open(&h, 0);
    CHECK_EVAL("topic('t'):wait('x')", "a test failed: test:1: topic:wait(offset [, timeout]): offset must be a whole "
                                       "number of 0 or more, not x");
    CHECK_EVAL("topic('t').wait(1)", "a test failed: test:1: topic:wait(offset [, timeout]): it must be called on a "
                                     "topic, "
                                     "not on number (a colon, not a dot, before the name?)");
    CHECK_EVAL("topic('t'):read {form = 1}",
               "a test failed: test:1: topic:read({from=, to=, limit=, bytes=, epoch=, format=\"records\", whole=, "
               "filter={key=, headers=}}): "
               "there is no field form");
    host_close(&h);
}

TEST(test_times_are_written_and_read)
{
    host_open(&h, 0);
    CHECK_EVAL("return time.format(time.parse('2026-11-23T10:00:00.250Z'))", "2026-11-23T10:00:00.250Z");
    CHECK_EVAL("return select(3, time.parse('soon'))", "bad_value");
    CHECK_EVAL("return math.abs(now() - os.time()) < 2", "true");
    host_close(&h);
}
