local check = require "check"
local http = require "lignum.http"
local core = require "lignum.core"
local range = require "lignum.range"
local stream = require "lignum.stream"
local function test(name, fn) check.test(print, name, fn) end

-- A stand-in for a topic that ends at `tail`.
local function topic_of(tail)
  local t = { tail = tail, waits = 0 }
  function t:info() return { first = 0, next = self.tail } end
  function t:wait(offset)
    self.waits = self.waits + 1
    if self.on_wait then self:on_wait() end
    if self.tail > offset then return true end
    return nil, "timed out", self.waits > 3 and "stopping" or "timeout"
  end
  function t:check(epoch)
    if epoch == self.cut then return nil, "cut", "log_truncated", { epoch = 1, offset = 2 } end
    return true
  end
  return t
end

local function ask(t, query) return range.of(t, t:info(), query) end

-- The parameters in the query of a request line.
local function parameters(text)
  local query = {}
  local function decode(s)
    return (s:gsub("+", " "):gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
  end
  for name, value in text:gmatch("([^&=]*)=?([^&]*)") do
    if name ~= "" or value ~= "" then query[decode(name)] = decode(value) end
  end
  return query
end

test("range_queries_are_parsed_as_the_table_says", function()
  local t = topic_of(100)
  function t.offset_at(_, time) return time < 946684800 and 0 or 50 end
  function t.check(_, epoch)
    if epoch == 13 then return nil, "truncated", "log_truncated", { epoch = 1, offset = 2 } end
    return true
  end
  local cases = 0
  for line in assert(core.read_file(check.root .. "/tests/cases/read_query.tsv")):gmatch("([^\n]+)\n") do
    local text, want = line:match("^([^#\t]*)\t%a+\t(.*)$")
    if text then
      local query, _, code = http.query({ query = parameters(text), target = "/?" .. text }, range.PARAMETERS)
      local asked
      if query then asked, _, code = range.of(t, t:info(), query) end
      local got = code or ("%d %s %s %d %d %s"):format(asked.from, asked.epoch or "-", asked.to or "-", asked.limit,
        asked.bytes, asked.wait)
      check.equal({ text, got }, { text, want })
      cases = cases + 1
    end
  end
  check.equal(cases > 80, true)
end)

test("range_from_a_token_that_is_not_here_yet_is_past_the_end", function()
  local t = topic_of(5)
  local asked = ask(t, { from = "2:8", wait = "1" })
  check.equal(asked.from, 8)
  check.equal(asked.epoch, 2)
  check.equal(asked.wait, 1)
  check.equal(t.waits, 0)
end)

test("range_min_offset_that_is_not_here_yet_is_waited_for_and_then_unavailable", function()
  for _, text in ipairs { "8", "2:8" } do
    local t = topic_of(5)
    local asked, _, code = ask(t, { min_offset = text, wait = "0" })
    check.equal(asked, nil)
    check.equal(code, "unavailable")
    check.equal(t.waits, 1)
    t.on_wait = function(self) self.tail = 8 end
    check.equal(ask(t, { min_offset = text }).from, 0)
    t.cut = 2
    asked, _, code = ask(t, { min_offset = "2:8" })
    check.equal(asked, nil)
    check.equal(code, "log_truncated")
  end
end)

test("range_a_stream_ends_when_what_it_sent_is_cut", function()
  local t = topic_of(5)
  function t.read(_, what) return setmetatable({ next = what.from }, { __len = function() return 0 end }) end
  function t:on_wait() self.cut, self.tail = 1, self.waits == 1 and 9 or 5 end
  local sent = {}
  stream.events(t, { from = 5, epoch = 1, bytes = 1000 }, false)(function(text) sent[#sent + 1] = text return true end)
  check.equal(#sent, 1)
  check.equal(sent[1]:match("^event: error\ndata: ") ~= nil, true)
  check.equal(sent[1]:match("log_truncated") ~= nil, true)
end)

-- Two pieces of 10 messages that a filter leaves out, in 20 seconds.
test("a_quiet_stream_says_behind_which_message_to_go_on", function()
  local t, now, clock = topic_of(20), 0, core.time.clock
  function t:info() return { first = 0, next = self.tail, id = "1:7" } end
  function t.read(_, what)
    now = now + 10
    return setmetatable({ next = what.from + 10, epoch = 3 }, { __len = function() return 0 end })
  end
  local sent = {}
  core.time.clock = function() return now end
  stream.events(t, { from = 0, to = 20, bytes = 1000 }, false, nil, { key = "x" })(function(text)
    sent[#sent + 1] = text
    return true
  end)
  core.time.clock = clock
  check.equal(#sent, 1)
  check.equal(sent[1], "id: 3:19:7\n:\n\n")
end)

-- A topic without a message that the filter takes; a look at 10 of its messages takes 0.2 seconds.
test("a_filtered_read_that_waits_ends_after_half_a_second_of_looking", function()
  local t, now, clock, looks = topic_of(1000), 0, core.time.clock, 0
  function t.read(_, what)
    now, looks = now + 0.2, looks + 1
    return setmetatable({ next = math.min(what.from + 10, 1000), epoch = 1 }, { __len = function() return 0 end })
  end
  core.time.clock = function() return now end
  local batch = range.read(t, { from = 0, filter = { key = "x" } }, { wait = 60 })
  core.time.clock = clock
  check.equal(looks, 3)
  check.equal(batch.next, 30)
  check.equal(t.waits, 0)
end)
