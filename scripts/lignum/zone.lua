--- Time zones: the offset of a zone at a time, read from the host's zoneinfo (TZif, RFC 8536).
---
--- After its last transition a file has a rule in the form of POSIX, such as "CET-1CEST,M3.5.0,M10.5.0/3".
local core = require "lignum.core"

local M = {}

local FOLDER <const> = "/usr/share/zoneinfo/"
local DAY <const> = 86400

-- Days since 1970 of a date (months from 1 on).
local function days_of(year, month, day)
  local y = month <= 2 and year - 1 or year
  local era = y // 400
  local of_era = y - era * 400
  local of_year = (153 * (month + (month > 2 and -3 or 9)) + 2) // 5 + day - 1
  return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468
end

-- POSIX rules ----------------------------------------------------------------------------------

-- "[+-]hh[:mm[:ss]]" at a place, as seconds; and the place after it.
local function read_time(text, at)
  local sign, hour, minute, second, after = text:match("^([+-]?)(%d+):?(%d*):?(%d*)()", at)
  if not hour then return nil, at end
  local value = hour * 3600 + (tonumber(minute) or 0) * 60 + (tonumber(second) or 0)
  return math.tointeger(sign == "-" and -value or value), after
end

local function read_name(text, at)
  return text:match("^<[%w+-]+>()", at) or text:match("^%a%a%a+()", at)
end

-- ",M3.5.0/2" or ",J60" or ",59": when daylight time begins or ends.
local function read_change(text, at)
  local change, after = {}
  change.month, change.week, change.weekday, after = text:match("^,M(%d+)%.(%d)%.(%d)()", at)
  if not after then change.julian, change.day, after = text:match("^,(J?)(%d+)()", at) end
  if not after then return nil end
  for _, field in ipairs { "month", "week", "weekday", "day" } do
    change[field] = math.tointeger(tonumber(change[field]))
  end
  change.seconds = 2 * 3600
  if text:sub(after, after) == "/" then change.seconds, after = read_time(text, after + 1) end
  return change, after
end

local function read_rule(text)
  local at = read_name(text, 1)
  if not at then return nil end
  local rule, offset = {}
  offset, at = read_time(text, at)
  if not offset then return nil end
  rule.standard = -offset
  local after = read_name(text, at)
  if not after then return rule end
  offset, at = read_time(text, after)
  rule.daylight = offset and -offset or rule.standard + 3600
  rule.begins, at = read_change(text, at)
  rule.ends = rule.begins and read_change(text, at)
  return rule.ends and rule or nil
end

-- Seconds since 1970, in local time, of a change in a year.
local function moment(change, year)
  local day
  if change.week then
    local first = days_of(year, change.month, 1)
    day = first + (change.weekday - (first + 4)) % 7 + (change.week - 1) * 7
    local next_month = change.month == 12 and days_of(year + 1, 1, 1) or days_of(year, change.month + 1, 1)
    while day >= next_month do day = day - 7 end
  else
    day = days_of(year, 1, 1) + change.day
    if change.julian == "J" then      -- 1 to 365, without 29 February
      local leap = days_of(year, 3, 1) - days_of(year, 2, 1) == 29
      if not leap or change.day < 60 then day = day - 1 end
    end
  end
  return day * DAY + change.seconds
end

local function offset_by_rule(rule, time)
  if not rule.daylight then return rule.standard end
  local year = math.tointeger(os.date("!%Y", time + rule.standard))
  local begins = moment(rule.begins, year) - rule.standard
  local ends = moment(rule.ends, year) - rule.daylight
  local daylight
  if begins < ends then
    daylight = time >= begins and time < ends
  else
    daylight = time >= begins or time < ends
  end
  return daylight and rule.daylight or rule.standard
end

-- Files ----------------------------------------------------------------------------------------

local HEAD <const> = ">c4c1c15I4I4I4I4I4I4"

-- The counts of a head: of UTC and standard flags, leap seconds, transitions, types, characters; and where data begin.
local function read_head(text, at)
  if #text < at + 43 then return nil end
  local magic, version, _, utc, standard, leap, times, types, chars, after = string.unpack(HEAD, text, at)
  if magic ~= "TZif" then return nil end
  local head = { version = version, utc = utc, standard = standard, leap = leap, times = times, types = types }
  head.chars = chars
  return head, after
end

local function size_of(head, width)
  return head.times * (width + 1) + head.types * 6 + head.chars + head.leap * (width + 4) + head.standard + head.utc
end

local function read_file(text)
  local head, at = read_head(text, 1)
  if not head or head.version < "2" then return nil end
  head, at = read_head(text, at + size_of(head, 4))
  if not head or #text < at + size_of(head, 8) then return nil end
  local zone = { times = {}, offsets = {} }
  local indices, types = at + head.times * 8, at + head.times * 9
  local function offset_of(index) return (string.unpack(">i4", text, types + index * 6)) end
  for i = 1, head.times do
    zone.times[i] = string.unpack(">i8", text, at + (i - 1) * 8)
    zone.offsets[i] = offset_of(text:byte(indices + i - 1))
  end
  zone.first = offset_of(0)
  zone.rule = read_rule(text:sub(at + size_of(head, 8)):match("^\n([^\n]*)\n") or "")
  return zone
end

---Reads a zone.
---@param name string  "Europe/Berlin"; "UTC"; "local": that of this host
---@return table? zone
---@return string? problem
function M.load(name)
  if name == "UTC" then return { times = {}, offsets = {}, first = 0 } end
  if type(name) ~= "string" or not name:find("^[%w_+-][%w_+/-]*$") then
    return nil, ("%s is no name of a time zone"):format(tostring(name))
  end
  local text = core.read_file(name == "local" and "/etc/localtime" or FOLDER .. name)
  local zone = text and read_file(text)
  if not zone then return nil, ("this host has no time zone %s (Debian package tzdata)"):format(name) end
  return zone
end

---The offset of a zone's clocks from UTC.
---@param zone table
---@param time integer  seconds since 1970
---@return integer seconds
function M.offset(zone, time)
  local times, low, high = zone.times, 1, #zone.times
  if high == 0 or time >= times[high] then
    return zone.rule and offset_by_rule(zone.rule, time) or zone.offsets[high] or zone.first
  end
  if time < times[1] then return zone.first end
  while low < high do            -- the last transition at or before `time`
    local middle = (low + high + 1) // 2
    if times[middle] <= time then low = middle else high = middle - 1 end
  end
  return zone.offsets[low]
end

return M
