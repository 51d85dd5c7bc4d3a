local check = require "check"
local pretty = require "lignum.pretty"
local repl = require "lignum.repl"
local function test(name, fn) check.test(print, name, fn) end

local ID <const> = -1      -- of a session that no client has

local function run(text)
  local out = {}
  local what, result = repl.eval(ID, text, function(s) out[#out + 1] = s end)
  return what, result, table.concat(out)
end

test("pretty_values_read_back_as_themselves", function()
  for _, value in ipairs {
    1, -1.5, 0.1, 1e100, 2.0, math.mininteger, "a\nb\"\\\0\xff\t", "é", true, {}, { 1, 2, { 3 } },
    { a = 1, ["b c"] = { x = "y" }, ["end"] = 2, [5] = "five", [1.5] = false },
  } do
    local text = pretty.format(value)
    check.equal(load("return " .. text)(), value)
  end
  check.equal(pretty.format { b = 1, a = 2, [1] = 3 }, "{ 3, a = 2, b = 1 }")
end)

test("pretty_is_bounded_and_survives_cycles", function()
  local t, big = {}, {}
  t.t = t
  check.has(pretty.format(t), "cycle")
  for i = 1, 100000 do big[i] = i end
  check.equal(#pretty.format(big) < 1 << 20, true)
  check.has(pretty.format(big), "more")
end)

test("repl_runs_expressions_and_statements_and_keeps_globals", function()
  check.equal({ run "1 + 1" }, { "ok", "2", "" })
  check.equal({ run "_ * 2" }, { "ok", "4", "" })
  check.equal({ run "x = 5" }, { "ok", "", "" })
  check.equal({ run "x, 'a', nil" }, { "ok", '5, "a", nil', "" })
  check.equal({ run "print(x, 'y')" }, { "ok", "", "5\ty\n" })
  check.equal(rawget(_G, "x"), nil)
end)

test("repl_wants_more_only_where_more_can_come", function()
  for _, text in ipairs { "for i = 1, 2 do", "x = {", "f(", "1 +", "function f()", "[[ long" } do
    check.equal((run(text)), "more")
  end
  for _, text in ipairs { "x = = 1", "end", ")" } do check.equal((run(text)), "error") end
end)

test("repl_errors_are_told_and_waits_wait", function()
  check.equal({ run "error('boo')" }, { "error", "console:1: boo", "" })
  check.equal({ run "error { a = 1 }" }, { "error", "{ a = 1 }", "" })
  check.equal({ run "sleep(0.01) return 7" }, { "ok", "7", "" })
end)

test("repl_shows_topics_batches_and_the_configuration", function()
  run "topic('console'):create() topic('console'):append { 'a', { key = 'k', payload = 'b' } }"
  local _, text = run "topic('console'):read {}"
  check.has(text, 'payload = "a"')
  check.has(text, 'key = "k"')
  check.has(select(2, run "topics('console')"), 'topic "console"')
  check.equal(select(2, run "config.limits.script_time"), "10")
  check.has(select(2, run "config.limits.script_time = 1"), "is read-only")
end)

test("repl_completes_without_calling_anything", function()
  local function names(text) return table.concat(repl.complete(ID, text), " ") end
  check.equal(names "print(json.en", "json.encode")
  check.equal(names "topi", "topic topics")
  check.equal(names "config.store.seg", "config.store.segment")
  check.has(names "topic('a'):", ":append")
  check.equal(names "topic('a'):na", "")                -- a method of others
  check.has(names "print(topic('a'):group('g'):", ":claim")
  check.equal(names "topic('a'):group('g'):app", "")
  check.equal(names "topic('a'):read { from = 0 }:app", "")
  run "mine = topic('a')"
  check.equal(names "mine:app", "mine:append")
  check.equal(names "mine:cla", "")
  check.equal(names "('x'):rep", "")                    -- not known: of everything
  run "trap = setmetatable({}, { __index = function() error('called') end })"
  check.equal(names "trap.x", "")
end)

test("help_knows_names_functions_and_keys", function()
  check.has(select(3, run "help()"), "json")
  check.has(select(3, run "help(json.encode)"), "json.encode(value)")
  check.has(select(3, run "help 'append'"), "no_space")
  check.has(select(3, run "help 'store.segment'"), "store.segment.bytes")
  check.has(select(3, run "help 'apend'"), "did you mean append?")
end)

repl.close(ID)
