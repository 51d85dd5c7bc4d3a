/* string.find, match, gmatch and gsub: they do what those of Lua do, but give way while they search. */
#include <lualib.h>

#include "script/bind/pattern.h"
#include "script/bind/tables.h"
#include "unit/host.h"
#include "unit/unit.h"

static struct host h;

#define CHECK_EVAL(code, text) CHECK_SLICE(host_eval(&h, code), SLICE(text))

/* A Lua function that makes a pattern and a subject of a number, and returns what all four functions answer to them. */
static const char cases[] =
    "local pieces = {'a', 'b', 'ab', '.', '%a', '%A', '%d', '%s', '%w', '%x', '%%', '[ab]', '[^a]', '[a-c]',\n"
    "  '[%a-]', '[]]', '[^]b]', '[%]a]', '[a%', '(', ')', '()', '%1', '%2', '%b()', '%bab', '%b',\n"
    "  '%f[a]', '%f[^a]', '%f', '[', '$', '^', '-', '*', '+', '?', '\\0', '%z', '.-', '.*', 'a-', 'b+', '[ab]*',\n"
    "  '(a*)', '(.-)', '%g', '%p', '\\xff'}\n"
    "local letters = {'a', 'b', 'c', ' ', '(', ')', '1', '-', ']', '%', '\\0', '\\xff', 'a', 'b'}\n"
    "local seed\n"
    "local function random(n) seed = (seed * 1103515245 + 12345) & 0x7fffffff return (seed >> 8) % n + 1 end\n"
    "local function make(from, most)\n"
    "  local t = {}\n"
    "  for i = 1, random(most + 1) - 1 do t[i] = from[random(#from)] end\n"
    "  return table.concat(t)\n"
    "end\n"
    "local function show(...)\n"
    "  local t = table.pack(...)\n"
    "  for i = 1, t.n do t[i] = type(t[i]):sub(1, 1) .. tostring(t[i]) end\n"
    "  return (table.concat(t, ',', 1, t.n):gsub('^bfalse,s[^ ]*:%d+: ', 'bfalse,s'))\n"
    "end\n"
    "local function each(s, p, init)\n"
    "  local t = {}\n"
    "  for a, b in s:gmatch(p, init) do t[#t + 1] = tostring(a) .. ':' .. tostring(b) if #t > 50 then break end end\n"
    "  return table.concat(t, ';')\n"
    "end\n"
    "return function(n)\n"
    "  seed = n\n"
    "  local p, s = make(pieces, 6), make(letters, 14)\n"
    "  local init, most = random(20) - 10, random(4) - 1\n"
    "  local r = make({'x', '%0', '%1', '%2', '%%', '%'}, 2)\n"
    "  local map = {a = 'X', b = false, ab = 7, [1] = 'pos'}\n"
    "  return table.concat({show(p, s, init), show(pcall(s.find, s, p)), show(pcall(s.find, s, p, init)),\n"
    "    show(pcall(s.match, s, p, init)), show(pcall(each, s, p, random(2) == 1 and init or nil)),\n"
    "    show(pcall(s.gsub, s, p, r)), show(pcall(s.gsub, s, p, map, most)), show(pcall(s.find, s, p, init, true)),\n"
    "    show(pcall(s.gsub, s, p, function(a, b) if a == 'b' then return {} end return a ~= ' ' and b or a\n"
    "    end))}, '\\n')\n"
    "end\n";

static slice case_in(lua_State *L, int n)
{
    size_t size;
    lua_settop(L, 1);
    lua_pushvalue(L, 1);
    lua_pushinteger(L, n);
    lua_call(L, 1, 1);
    const char *text = lua_tolstring(L, -1, &size);
    return slice_of(text, size);
}

static lua_State *state_with(void (*open)(lua_State *L))
{
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    if (open != NULL)
        open(L);
    lua_settop(L, 0);
    CHECK(luaL_dostring(L, cases) == LUA_OK);
    return L;
}

TEST(test_patterns_match_as_those_of_lua_do)
{
    enum { CASES = 20 * 1000 };
    host_open(&h, 0);
    lua_State *lua = state_with(NULL), *ours = vm_state(h.vm);
    lua_settop(ours, 0);
    CHECK(luaL_dostring(ours, cases) == LUA_OK);
    for (int n = 1; n <= CASES; n++) {
        slice theirs = case_in(lua, n);
        CHECK_SLICE(case_in(ours, n), theirs);
    }
    lua_settop(ours, 0);
    lua_close(lua);
    host_close(&h);
}

TEST(test_wrong_arguments_are_said_as_lua_says_them)
{
    host_open(&h, 0);
    CHECK_EVAL("return (select(2, pcall(string.gsub, 'a', 'a')))",
               "bad argument #3 to 'string.gsub' (string/function/table expected, got no value)");
    CHECK_EVAL("return (select(2, pcall(string.find, {}, 'a')))",
               "bad argument #1 to 'string.find' (string expected, got table)");
    CHECK_EVAL("return (select(2, pcall(string.find, 'a', ('()'):rep(33))))", "too many captures");
    CHECK_EVAL("return (select(2, pcall(string.find, ('a'):rep(300), ('a?'):rep(201))))", "pattern too complex");
    CHECK_EVAL("return #(('ab'):rep(100000):gsub('b', 'cc'))", "300000");
    CHECK_EVAL("return string.gsub(1212, 2, 5)", "1515");
    host_close(&h);
}

/* Finding one long text in another took quadratic time as well. */
TEST(test_plain_finding_is_linear)
{
    host_open(&h, 0);
    CHECK_EVAL("local s, t = ('a'):rep(4000000), ('a'):rep(2000000) .. 'b'\n"
               "local began = os.clock()\n"
               "return tostring(s:find(t, 1, true)) .. tostring(os.clock() - began < 1)", "niltrue");
    host_close(&h);
}

static bool has_ended(struct host *host)
{
    return host->running < 2;
}

/* The first task would compute for hours. The second one runs in between, and ends. */
static void check_gives_way(const char *code, const char *message)
{
    host_open(&h, 0);
    h.operator_code = true;
    tasks_set_limits(vm_tasks(h.vm), TASKS_MAX, 200);
    host_start(&h, code);
    host_start(&h, "for i = 1, 3 do sleep(0.001) end return 'served'");
    host_turns(&h, has_ended);
    CHECK_SLICE(slice_from(h.text), SLICE("served"));
    host_turns(&h, host_idle);
    CHECK_EQ(h.rc, -ERR_SCRIPT_TIME);
    if (strstr(h.text, message) == NULL)
        CHECK_SLICE(slice_from(h.text), slice_from(message));
    host_close(&h);
}

#define BLANKS "local s = (' '):rep(3000000) .. 'x' "

TEST(test_a_pattern_that_takes_long_gives_way_and_is_named_when_it_ends)
{
    check_gives_way(BLANKS "return s:match('^(.-)%s*$')", "the pattern \"(.-)%s*$\" is over its budget of 200 ms");
    check_gives_way(BLANKS "return s:find('%s+$')", "the pattern \"%s+$\" is over its budget of 200 ms");
    check_gives_way(BLANKS "return s:gsub('%s+$', '')", "the pattern \"%s+$\" is over its budget of 200 ms");
    check_gives_way(BLANKS "for a in s:gmatch('%s+$') do return a end", "the pattern \"%s+$\" is over its budget");
    check_gives_way("return (('('):rep(3000000)):match('%b()')", "the pattern \"%b()\" is over its budget");
    check_gives_way("local a = ('a'):rep(3000) return a:match(('a*'):rep(30) .. 'b')", "is over its budget");
    check_gives_way(BLANKS "return coroutine.wrap(function() return pcall(string.find, s, '%s+$') end)()",
                    "is over its budget of 200 ms");
    check_gives_way("return (('a'):rep(3000000):gsub('a', function() while true do end end))",
                    "over its budget of 200 ms");
}

TEST(test_a_match_that_gave_way_goes_on_where_it_was)
{
    host_open(&h, 0);
    h.operator_code = true;
#define WORK "local s = (' '):rep(5000) local long = s .. 'x' "
    CHECK_EVAL(WORK "local a, b = long:find('%s*y?x$') return a .. ' ' .. b", "1 5001");
    CHECK_EVAL(WORK "return tostring(long:match('^(%s*)%s*y')) .. #long:match('^(%s-)x$')", "nil5000");
    CHECK_EVAL(WORK "local n = 0 for a in (long .. long):gmatch('%s*(%s?)(x)') do n = n + 1 end return n", "2");
    CHECK_EVAL(WORK "local t, n = (long:rep(3)):gsub('%s+y?(x)', '<%1>') return t .. n", "<x><x><x>3");
    CHECK_EVAL(WORK "local t = ('abc'):gsub('.', function(c) for i = 1, 3e6 do end return c:upper() end) return t",
               "ABC");
    CHECK_EVAL("local t = ('abc'):gsub('.', function(c) sleep(0.001) return c:upper() end) return t", "ABC");
    CHECK_EVAL("return coroutine.wrap(function() local t = ('abc'):gsub('.', function(c) sleep(0.001)\n"
               "  return c:upper() end) return t end)()", "ABC");
    host_close(&h);
}
