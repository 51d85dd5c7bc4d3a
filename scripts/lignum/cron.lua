--- Times in the form of cron: minute, hour, day of the month, month, day of the week.
---
--- A time matches when the zone's clocks show it. A time that the clocks skip does not occur on that day; of one that
--- they show twice only the first counts, unless the hour is `*`.
local zone = require "lignum.zone"

local M = {}

local STEP <const> = 900         -- seconds: offsets of zones are multiples of it
local YEARS <const> = 9          -- from one 29 February to the next, over a year such as 2100

local MONTHS <const> = { "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec" }
local WEEKDAYS <const> = { [0] = "sun", "mon", "tue", "wed", "thu", "fri", "sat" }
local FIELDS <const> = {
  { name = "minute", min = 0, max = 59 }, { name = "hour", min = 0, max = 23 },
  { name = "day of the month", min = 1, max = 31 }, { name = "month", min = 1, max = 12, names = MONTHS },
  { name = "day of the week", min = 0, max = 7, names = WEEKDAYS },
}
local SHORT <const> = {
  ["@hourly"] = "0 * * * *", ["@daily"] = "0 0 * * *", ["@weekly"] = "0 0 * * 0", ["@monthly"] = "0 0 1 * *",
  ["@yearly"] = "0 0 1 1 *",
}

local function value_of(field, text)
  for value, name in pairs(field.names or {}) do
    if name == text:lower() then return value end
  end
  local value = text:find("^%d%d?$") and math.tointeger(tonumber(text))
  return value and value >= field.min and value <= field.max and value or nil
end

-- The values of "*", "5", "1-5", "*/10", "1-30/5".
local function add_part(field, part, values)
  local range, step = part:match("^([^/]+)/(%d+)$")
  range, step = range or part, math.tointeger(tonumber(step or "1"))
  local first, last = range:match("^(%w+)-(%w+)$")
  if range == "*" then
    first, last = field.min, field.max
  elseif first then
    first, last = value_of(field, first), value_of(field, last)
  else
    first = value_of(field, range)
    last = part == range and first or field.max
  end
  if not first or not last or first > last or step == 0 then return false end
  for value = first, last, step do values[value] = true end
  return true
end

local function read_field(field, text)
  local values = { any = text == "*" }
  for part in (text .. ","):gmatch("([^,]*),") do
    if not add_part(field, part, values) then return nil end
  end
  return values
end

---Reads a specification.
---@param text string
---@return table? spec
---@return string? problem
function M.read(text)
  if type(text) ~= "string" then return nil, "must be a text such as \"0 3 * * 1\"" end
  local spec, fields = {}, {}
  for word in (SHORT[text] or text):gmatch("%S+") do fields[#fields + 1] = word end
  if #fields ~= #FIELDS then
    local want <const> = "minute, hour, day of the month, month, day of the week"
    return nil, ("%q has %d fields, not 5: %s"):format(text, #fields, want)
  end
  for i, field in ipairs(FIELDS) do
    spec[i] = read_field(field, fields[i])
    if not spec[i] then return nil, ("%q: %s is no %s"):format(text, fields[i], field.name) end
  end
  if spec[5][7] then spec[5][0] = true end
  return spec
end

-- With both days given, one of them is enough, as in other crons.
local function is_day(spec, t)
  local of_month, of_week = spec[3][t.day] or false, spec[5][t.wday - 1] or false
  if spec[3].any or spec[5].any then return of_month and of_week end
  return of_month or of_week
end

---The first time after another one that matches.
---@param spec table
---@param in_zone table    of zone.load
---@param after number     seconds since 1970
---@return integer? time   nil: none within years, such as 30 February
function M.next(spec, in_zone, after)
  local time = math.floor(after) // 60 * 60
  local shown = time + zone.offset(in_zone, time)          -- what the clocks showed
  local last = time + YEARS * 366 * 86400
  time = time + 60
  while time < last do
    local clock = time + zone.offset(in_zone, time)
    local t = os.date("!*t", clock)
    local rest = 86400 - clock % 86400                     -- of the day
    if not spec[4][t.month] or not is_day(spec, t) then
      time = time + (rest > 3 * 3600 and rest - 2 * 3600 or STEP - clock % STEP)
    elseif not spec[2][t.hour] then
      time = time + STEP - clock % STEP
    elseif not spec[1][t.min] or (clock <= shown and not spec[2].any) then
      time = time + 60
    else
      return time
    end
  end
end

return M
