-- shared.dict.
local check = require "check"
local core = require "lignum.core"
local json, shared = core.json, core.shared
local function test(name, fn) check.test(print, name, fn) end

local function fails(code, words, ...)
  local value, why, got = ...
  check.equal({ value or false, got }, { false, code })
  check.has(why, words)
end

test("shared_values_come_back_as_they_were", function()
  local d = shared.dict("values")
  local values = {
    "", "text\0bytes\xff", 0, -1, math.maxinteger, math.mininteger, 0.5, -0.0, 1 / 0, 3.0, true, false, {},
    { 1, 2, { "three", x = { [1.5] = false, [true] = 1 } }, n = math.mininteger },
  }
  for i, value in ipairs(values) do
    check.equal(d:set("k" .. i, value), true)
    local got = d:get("k" .. i)
    check.equal({ math.type(got) or type(got), got }, { math.type(value) or type(value), value })
  end
  check.equal(d:get("none"), nil)
  local list = d:set("list", json.array {}) and d:get("list")
  check.equal({ json.encode(list), json.encode(d:get("k13")) }, { "[]", "{}" })
end)

test("shared_a_table_is_a_copy", function()
  local d, t = shared.dict("copies"), { inner = { 1 } }
  d:set("t", t)
  t.inner[1] = 2
  d:get("t").inner[1] = 3
  check.equal(d:get("t"), { inner = { 1 } })
end)

test("shared_handles_of_one_name_are_one_dictionary", function()
  shared.dict("same"):set("a", 1)
  check.equal({ shared.dict("same"):get("a"), shared.dict("other"):get("a") }, { 1, nil })
end)

test("shared_add_cas_and_incr_are_conditional", function()
  local d = shared.dict("conditions")
  check.equal({ d:add("a", 1), d:add("a", 2), d:get("a") }, { true, false, 1 })
  check.equal({ d:cas("a", 2, 3), d:cas("a", 1, 3), d:get("a") }, { false, true, 3 })
  check.equal({ d:cas("b", 1, 2), d:cas("b", nil, 2), d:cas("b", nil, 3), d:get("b") }, { false, true, false, 2 })
  check.equal({ d:cas("b", 2.0, nil), d:get("b") }, { true, nil })
  check.equal({ d:cas("s", nil, "x"), d:cas("s", "y", "z"), d:cas("s", "x", { 1 }), d:get("s") },
    { true, false, true, { 1 } })
  check.equal({ d:cas("s", nil, "x"), d:cas("f", nil, false), d:cas("f", nil, true), d:cas("f", false, true) },
    { false, true, false, true })
  check.raises("old must not be a table", d.cas, d, "s", {}, 1)
  check.equal({ d:incr("n"), d:incr("n"), d:incr("n", 40), d:incr("n", -2) }, { 1, 2, 42, 40 })
  check.equal({ math.type(d:get("n")), d:incr("n", 0.5), d:incr("n", 1) }, { "integer", 40.5, 41.5 })
  d:set("big", math.maxinteger)
  check.equal(d:incr("big"), math.mininteger)
  d:set("text", "1")
  fails("bad_value", "the entry is no number", d:incr("text"))
  check.equal(d:get("text"), "1")
end)

test("shared_delete_keys_and_info_agree", function()
  local d = shared.dict("census")
  check.equal(d:info(), { count = 0, bytes = 0, bytes_max = 16 << 20 })
  for i = 1, 1000 do d:set(("user.%04d"):format(i), i) end
  d:set("else", 1)
  local names = d:keys("user.")
  table.sort(names)
  check.equal({ #names, names[1], names[1000], #d:keys(), #d:keys("user.", 7), #d:keys("x") },
    { 1000, "user.0001", "user.1000", 1000, 7, 0 })
  check.equal({ #d:keys("", 2000), d:info().count }, { 1001, 1001 })
  for _, name in ipairs(names) do check.equal(d:delete(name), true) end
  check.equal({ d:delete("user.0001"), d:set("else", nil), d:info().count, d:info().bytes }, { false, true, 0, 0 })
end)

test("shared_entries_expire", function()
  local d = shared.dict("times")
  d:set("short", 1, 0.5)
  d:set("long", 1, 60)
  d:set("kept", 1, 0.5)
  d:set("kept", 2)                           -- without a ttl, so it stays
  check.equal({ d:add("short", 2), d:incr("count", 1, 0.5), d:incr("count", 1, 60) }, { false, 1, 2 })
  local until_then = core.time.clock() + 0.51
  while core.time.clock() < until_then do core.sleep(0.01) end
  check.equal({ d:get("short"), d:get("long"), d:get("kept"), d:get("count") }, { nil, 1, 2, nil })
  check.equal({ d:info().count, d:add("short", 3), d:get("short"), d:incr("count") }, { 2, true, 3, 1 })
end)

test("shared_many_entries_expire_in_the_order_of_their_times", function()
  local d, now = shared.dict("heap"), core.time.clock()
  for i = 1, 2000 do d:set("k" .. i, i, i % 2 == 0 and 60 + i * 7919 % 1000 or 0.01 + i * 7919 % 100 / 1e4) end
  for i = 1, 2000, 8 do d:set("k" .. i, i, 60) end         -- and some are put off, deleted, kept for ever
  for i = 3, 2000, 8 do d:delete("k" .. i) end
  for i = 5, 2000, 8 do d:set("k" .. i, i) end
  while core.time.clock() < now + 0.1 do core.sleep(0.01) end
  local alive = 0
  for i = 1, 2000 do
    local stays = i % 2 == 0 or i % 8 == 1 or i % 8 == 5
    check.equal(d:get("k" .. i), stays and i or nil)
    alive = alive + (stays and 1 or 0)
  end
  check.equal(d:info().count, alive)
end)

test("shared_a_full_dictionary_refuses_and_keeps_what_it_has", function()
  local d = shared.dict("small", { bytes = 4096 })
  for i = 1, 3 do check.equal(d:set("k" .. i, ("x"):rep(1000)), true) end
  fails("too_large", "3390 of 4096 bytes are taken", d:set("k4", ("x"):rep(1000)))
  fails("too_large", "is full", d:set("k3", ("x"):rep(3000)))
  fails("too_large", "is full", d:add("k4", ("x"):rep(1000)))
  check.equal({ #d:get("k3"), d:get("k4"), d:set("k3", "y"), d:set("k4", ("x"):rep(1000)) }, { 1000, nil, true, true })
  d:set("k1", "z", 0.01)
  d:set("k2", "z", 0.01)
  local began = core.time.clock()
  while core.time.clock() < began + 0.02 do core.sleep(0.01) end
  check.equal(d:set("k5", ("x"):rep(2000)), true)         -- the space of expired entries is free
  local bytes = shared.dict("small", { bytes = 1024 }):info()
  fails("too_large", "is full", d:set("k6", 1))
  check.equal({ bytes.bytes_max, #d:get("k5") }, { 1024, 2000 })
end)

test("shared_wrong_calls_name_what_is_wrong", function()
  local d = shared.dict("wrong")
  check.raises("value must be a string, number, boolean or table, not function", d.set, d, "k", print)
  check.raises("value contains a function", d.set, d, "k", { print })
  check.raises("value has a table as a key", d.set, d, "k", { [{}] = 1 })
  check.raises("value has more than 65536 bytes", d.set, d, "k", ("x"):rep(65537))
  check.raises("value has more than 65536 bytes", d.set, d, "k", { ("x"):rep(65537) })
  local deep = {}
  deep.deep = deep
  check.raises("deeper than 16 tables, or contains itself", d.set, d, "k", deep)
  check.raises("key must be a string, not number", d.get, d, 1)
  check.raises("key has more than 1024 bytes", d.get, d, ("k"):rep(1025))
  check.raises("ttl must be a number of seconds", d.set, d, "k", 1, -1)
  check.raises("ttl must be a number of seconds", d.set, d, "k", 1, 0 / 0)
  check.raises("by must be a number", d.incr, d, "k", "1")
  check.raises("must be called on a dictionary", d.get, "wrong", "k")
  check.raises("there is no field size", shared.dict, "x", { size = 1 })
  check.raises("bytes must be from 1024 to 268435456", shared.dict, "x", { bytes = 1 })
  check.equal(d:info().count, 0)
end)

test("shared_all_dictionaries_together_are_bounded", function()
  local huge = shared.dict("huge", { bytes = 256 << 20 })
  check.raises("at most 64 dictionaries, of 268435456 bytes together", huge.info, huge)
  local made = 0
  for i = 1, 64 do made = made + (pcall(core.Dict.info, shared.dict("many" .. i, { bytes = 1024 })) and 1 or 0) end
  if made >= 64 or made < 30 then error(made .. " more dictionaries were made") end
end)
