--- lignum replay: shows the messages that a topic holds to the on_publish of a new lignum.lua and to that of the
--- present one, side by side, and tells where they differ. Nothing is appended, fetched or changed.
local core = require "lignum.core"
local diff = require "lignum.diff"
local shell = require "lignum.shell"
local remote = require "lignum.remote"
local system = require "lignum.system"

local json = core.json

local KINDS <const> = { "rejected", "accepted", "changed", "rerouted", "failed" }
local SHOWN <const> = 3              -- examples of each kind
local REASONS_MAX <const> = 1000     -- that are told apart
local COMPARED_MAX <const> = 20000   -- changed payloads that are compared as JSON; then one in 64
local PATHS <const> = 16             -- differences of one message
local RECORDS <const> = "application/vnd.lignum.records"
local UNITS <const> = { s = 1, m = 60, h = 3600, d = 86400 }

-- Options ----------------------------------------------------------------------------------------

-- An offset, or a time; the other is nil.
local function place_of(flag, text)
  if text:find("^%d+$") then return math.tointeger(tonumber(text)) end
  local number, unit = text:match("^%-(%d+)([smhd])$")
  if number then return nil, core.now() - number * UNITS[unit] end
  local time = core.time.parse(text)
  if not time then
    shell.fail(64, "%s: %s is no offset, no time such as 2026-11-23T10:00:00Z, and no span such as -15m", flag, text)
  end
  return nil, time
end

local function part_of(text)
  local number = tonumber((text:gsub("%%$", "")))
  if not number or number <= 0 or number > 100 then shell.fail(64, "--sample: %s is no share such as 5%%", text) end
  return number / 100
end

local function kinds_of(text)
  local wanted = {}
  for name in text:gmatch("[^,]+") do
    local known = name == "damage"
    for _, kind in ipairs(KINDS) do known = known or kind == name end
    if not known then shell.fail(64, "--fail-on: %s is none of %s, damage", name, table.concat(KINDS, ", ")) end
    wanted[name] = true
  end
  return wanted
end

local function readable(path)
  local file, why = core.unsafe.open(path, "rb")
  if not file then shell.fail(64, "%s", why) end
  file:close()
  return path
end

local function present_file(flags)
  if flags.against == "none" then return nil end
  if flags.against then return readable(flags.against) end
  local file = core.unsafe.open("lignum.lua", "rb")
  if file then file:close() end
  return file and "lignum.lua"
end

-- Differences ------------------------------------------------------------------------------------

-- How often each reason occurred, and where first.
local function count(list, reason, offset)
  local entry = list[reason]
  if not entry then
    if list.n == REASONS_MAX then reason = "others" end
    entry = list[reason] or { reason = reason, count = 0, first = offset }
    if not list[reason] then
      list[reason], list.n = entry, list.n + 1
    end
  end
  entry.count = entry.count + 1
end

local function shown(value)
  local text = value == nil and "absent" or type(value) == "string" and ("%q"):format(value) or json.encode(value)
  return #text <= 60 and text or text:sub(1, 57) .. "..."
end

-- The paths at which two payloads differ, if both are JSON; otherwise one for all of it.
local function differences(old, new)
  local a, b = json.decode(old), json.decode(new)
  if type(a) ~= "table" or type(b) ~= "table" then return { { path = "payload", old = old, new = new } } end
  local list = diff.values(a, b, PATHS)
  if #list == 0 then return { { path = "the form of the JSON", old = #old, new = #new } } end
  return list
end

local Tally = {}
Tally.__index = Tally

function Tally:changed(offset, old, new, more)
  local kind = self.changed_kind
  if more then count(kind.reasons, more, offset) end
  if old == new then return end
  kind.seen = kind.seen + 1
  if kind.seen > COMPARED_MAX and kind.seen % 64 ~= 0 then
    kind.skipped = kind.skipped + 1
    return
  end
  local list = differences(old, new)
  for _, d in ipairs(list) do
    local how = d.old == nil and " added" or d.new == nil and " removed" or ""
    count(kind.reasons, d.path:gsub("%[%d+%]", "[]") .. how, offset)
  end
  return list[1]
end

-- Called by the judge for each message about which the two files differ.
function Tally:note(what, offset, a, b, c)
  local kind = self.kinds[what]
  kind.count = kind.count + 1
  local detail
  if what == "changed" then
    local first = self:changed(offset, a, b, c)
    detail = first and ("%s: %s -> %s"):format(first.path, shown(first.old), shown(first.new)) or c
  elseif what == "rejected" or what == "accepted" then
    detail = b and b ~= "rejected" and ("%s (%s)"):format(a, b) or a
    count(kind.reasons, detail, offset)
  else
    detail = what == "rerouted" and "to " .. a or a
    count(kind.reasons, detail, offset)
  end
  if #kind.examples < SHOWN then kind.examples[#kind.examples + 1] = { offset = offset, what = detail } end
end

local function new_tally()
  local kinds = {}
  for _, name in ipairs(KINDS) do
    kinds[name] = { count = 0, reasons = { n = 0 }, examples = {}, seen = 0, skipped = 0 }
  end
  return setmetatable({ kinds = kinds, changed_kind = kinds.changed, damage = {} }, Tally)
end

-- Sources ----------------------------------------------------------------------------------------

local function read_data(flags, range, tally, judge, progress)
  local log, why, code = system.log(flags.data, flags.topic, range.from or 0, range.from_time)
  if not log then shell.fail(code == "unknown_topic" and 66 or 65, "%s", why) end
  while true do
    shell.check_interrupt()
    local bytes, what, from, to = log:next()
    if bytes then
      if judge(bytes) < #bytes then shell.fail(65, "the log has bytes that are no batch") end
      progress(log:done())
    elseif what then
      tally.damage[#tally.damage + 1] = { from = from, to = to, what = what }
    else
      return
    end
    if bytes and range.over() then return end
  end
end

-- Where messages can be read again, after `at`, which is damaged. Steps get longer, so of what is sound between two
-- damaged ranges some may be passed over.
local function behind_damage(can_read, at, last)
  local bad, step = at, 1
  while bad + step < last and not can_read(bad + step) do bad, step = bad + step, 2 * step end
  local good = math.min(bad + step, last)
  while good - bad > 1 do
    local middle = (bad + good) // 2
    if can_read(middle) then good = middle else bad = middle end
  end
  return good
end

local function read_url(flags, range, tally, judge, progress, node)
  local info = node:json("GET", remote.path { "topics", flags.topic })
  local from, at = flags.from or "earliest", range.from or not range.from_time and info.first or nil
  local function get(place, limit, headers)
    local path = remote.path({ "topics", flags.topic, "messages" }, { from = place, limit = limit, bytes = 8388608 })
    return node:request("GET", path, { headers = headers, except = "damaged" })
  end
  local function can_read(offset) return get(offset, 1) ~= nil end
  while true do
    shell.check_interrupt()
    local answer = get(from, 100000, { Accept = RECORDS })
    if answer and answer.body == "" then return end
    local used, next_ = 0, nil
    if answer then used, next_ = judge(answer.body) end
    if used > 0 and used == #answer.body then
      from = answer.headers["lignum-next-offset"]
      next_ = math.tointeger(tonumber(from and from:match("^%d+:(%d+)")))
      if not next_ or next_ == at then return end
    elseif used > 0 then
      from = next_
    elseif not at then                 -- the time is one of damaged messages: the judge finds those that are not
      from, next_ = "earliest", info.first
    elseif can_read(at) then
      shell.fail(65, "the log has bytes that are no batch, at offset %d", at)
    else
      next_ = behind_damage(can_read, at, info.next)
      tally.damage[#tally.damage + 1] = { from = at, to = next_, what = "the node finds it damaged" }
      from = next_
    end
    at = next_
    progress((at - info.first) / math.max(1, info.next - info.first))
    if range.over() or at >= info.next then return end
  end
end

-- Output -----------------------------------------------------------------------------------------

local function sorted_reasons(kind)
  local list = {}
  for reason, entry in pairs(kind.reasons) do
    if reason ~= "n" then list[#list + 1] = entry end
  end
  table.sort(list, function(a, b) return a.count > b.count or a.count == b.count and a.first < b.first end)
  return list
end

local function nanoseconds(ns)
  if not ns then return "-" end
  if ns < 1e6 then return ("%.1f us"):format(ns / 1e3) end
  return ("%.1f ms"):format(ns / 1e6)
end

local function sides(result)
  local rows = {}
  local function add(name, present, new) rows[#rows + 1] = { name = name, present = present, new = new } end
  local p, n = result.present, result.new
  add("accepted", p.accepted, n.accepted)
  add("rejected", p.rejected, n.rejected)
  add("failed", p.failed, n.failed)
  add("time, p50", nanoseconds(p.p50_ns), nanoseconds(n.p50_ns))
  add("time, p99", nanoseconds(p.p99_ns), nanoseconds(n.p99_ns))
  shell.rows({ { "on_publish", "name" }, { "PRESENT", "present" }, { "NEW", "new" } }, rows)
end

local function kind_lines(name, kind)
  shell.out(("%-10s %d\n"):format(name, kind.count))
  for i, entry in ipairs(sorted_reasons(kind)) do
    if i > SHOWN * 4 then
      shell.out(("           ... and %d more\n"):format(kind.reasons.n - i + 1))
      break
    end
    shell.out(("%12d  %s (first at offset %d)\n"):format(entry.count, shell.plain(entry.reason), entry.first))
  end
  if name ~= "changed" then return end
  for _, example in ipairs(kind.examples) do
    shell.out(("              offset %d: %s\n"):format(example.offset, shell.plain(example.what)))
  end
  if kind.skipped > 0 then
    shell.out(("              %d more payloads differ, of which not each was compared\n"):format(kind.skipped))
  end
end

local function undone_lines(name, undone)
  local list = {}
  for what, times in pairs(undone or {}) do list[#list + 1] = { what = what, times = times } end
  table.sort(list, function(a, b) return a.times > b.times or a.times == b.times and a.what < b.what end)
  for i = 1, math.min(#list, SHOWN * 4) do
    shell.out(("%12d  %s (%s file)\n"):format(list[i].times, shell.plain(list[i].what), name))
  end
end

local function print_text(result)
  shell.out(("%s: %d messages judged in %.2f s (%.0f a second)%s\n\n"):format(result.topic, result.messages,
    result.seconds, result.messages / math.max(result.seconds, 1e-6),
    result.messages > 0 and (", of %s to %s"):format(core.time.format(result.first_time),
      core.time.format(result.last_time)) or ""))
  sides(result)
  shell.out(("\n%-10s %d\n"):format("same", result.same))
  for _, name in ipairs(KINDS) do
    if result.kinds[name].count > 0 then kind_lines(name, result.kinds[name]) end
  end
  if next(result.present.undone or {}) or next(result.new.undone or {}) then
    shell.out("\nnot done, only counted\n")
    undone_lines("present", result.present.undone)
    undone_lines("new", result.new.undone)
  end
  for _, d in ipairs(result.damage) do
    shell.out(("\ndamage: offsets %d to %d were left out: %s\n"):format(d.from, d.to, d.what))
  end
end

local function print_json(result)
  local out = {
    topic = result.topic, messages = result.messages, same = result.same, seconds = result.seconds,
    present = result.present, new = result.new, damage = json.array(result.damage),
  }
  for _, name in ipairs(KINDS) do
    local kind = result.kinds[name]
    local reasons = sorted_reasons(kind)
    for i = #reasons, 101, -1 do reasons[i] = nil end
    out[name] = { count = kind.count, reasons = json.array(reasons), examples = json.array(kind.examples) }
  end
  shell.json(out)
end

-- The command ------------------------------------------------------------------------------------

local function run(_, flags, node)
  if not flags.config or not flags.topic then shell.fail(64, "needs --config FILE and --topic TOPIC") end
  if flags.data and flags.url then shell.fail(64, "--data and --url are two sources; give one of them") end
  local from, from_time = place_of("--from", flags.from or "0")
  local to, to_time
  if flags.to then to, to_time = place_of("--to", flags.to) end
  local fail_on = kinds_of(flags.fail_on or "")
  local judge, why = system.judge {
    new = readable(flags.config), present = present_file(flags), topic = flags.topic, where = flags.where,
    from = from, to = to, from_time = from_time, to_time = to_time, part = part_of(flags.sample or "100%"),
  }
  if not judge then shell.fail(64, "%s", why) end
  local tally, progress, began = new_tally(), shell.progress(), core.time.clock()
  local function note(...) tally:note(...) end
  local range = { from = from, from_time = from_time }
  function range.over() return to ~= nil and judge:result().next >= to end
  local function take(bytes) return judge:batches(bytes, note), judge:result().next end
  local read = flags.data and read_data or read_url
  read(flags, range, tally, take, function(part)
    progress(part, ("%d messages"):format(judge:result().messages))
  end, node)
  progress()
  local result = judge:result()
  result.topic, result.kinds, result.damage = flags.topic, tally.kinds, tally.damage
  result.seconds = core.time.clock() - began
  local print_result = flags.json_out and print_json or print_text
  print_result(result)
  local failed = fail_on.damage and #tally.damage > 0
  for name in pairs(fail_on) do failed = failed or name ~= "damage" and tally.kinds[name].count > 0 end
  return failed and 1 or 0
end

return {
  summary = "judges the messages of a topic by a new lignum.lua, beside the present one",
  usage = "--config FILE --topic TOPIC [--data DIR | --url URL]", args = { 0, 0 }, remote = true, run = run,
  flags = {
    { "--config", "FILE", "the new lignum.lua" },
    { "--against", "FILE", "the present one (default: ./lignum.lua if there is one); none: all is accepted as it is" },
    { "--topic", "TOPIC", "whose messages are judged" },
    { "--from", "PLACE", "an offset, a time, or a span before now such as -1d (default: the beginning)" },
    { "--to", "PLACE", "the same; exclusive" },
    { "--data", "DIR", "a data directory, also of a node that runs; it is only read" },
    { "--sample", "SHARE", "only this share of the messages, such as 5%" },
    { "--where", "CONDITION", "only messages for which this is true, in Lua: 'msg.key == \"k\"', 'offset > 9'" },
    { "--fail-on", "KINDS", "exits with 1 if there are any: rejected, accepted, changed, rerouted, failed, damage" },
  },
  help = "Each on_publish sees each message as it is stored. What they differ in is counted by reason, and nothing is\n"
    .. "done: no append, no fetch, no task (doc/testing.md). Exit codes: 0; 1 for --fail-on; 64 for a file with a\n"
    .. "mistake; 65 for a data directory that cannot be read; 66 for a topic that does not exist.",
}
