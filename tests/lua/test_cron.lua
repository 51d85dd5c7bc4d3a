-- cron and time zones. What `date` says is the reference.
local check = require "check"
local core = require "lignum.core"
local cron = require "lignum.cron"
local zone = require "lignum.zone"
local function test(name, fn) check.test(print, name, fn) end

local ZONES <const> = {
  "UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "America/Sao_Paulo",
  "Pacific/Chatham", "Africa/Casablanca", "Asia/Kathmandu",
}

test("zone_offsets_are_those_of_date", function()
  for _, name in ipairs(ZONES) do
    local in_zone = assert(zone.load(name))
    local times = {}
    for i = 1, 120 do times[i] = i * 47 * 86400 // 3 + i * 3571 end               -- 1970 to 2122
    for i = 1, 40 do times[120 + i] = 2400000000 + i * 8 * 86400 + i * 1789 end  -- 2046, by the rule
    local list = core.unsafe.tmpname()
    local file = core.unsafe.open(list, "w")
    for _, time in ipairs(times) do file:write("@", time, "\n") end
    file:close()
    local pipe = core.unsafe.popen(("TZ=%s date -f %s +%%z"):format(name, list))
    for _, time in ipairs(times) do
      local sign, hours, minutes = pipe:read("l"):match("^([+-])(%d%d)(%d%d)$")
      local want = math.tointeger((sign == "-" and -1 or 1) * (hours * 3600 + minutes * 60))
      local got = zone.offset(in_zone, time)
      check.equal({ name, time, got // 60 * 60 }, { name, time, want })
    end
    pipe:close()
    core.unsafe.remove(list)
  end
end)

test("zone_a_name_that_is_none_is_refused", function()
  for _, name in ipairs { "Europe/Atlantis", "../../etc/passwd", "", "/etc/localtime", "Europe", 5 } do
    local in_zone, why = zone.load(name)
    check.equal(in_zone, nil)
    check.has(why, "time zone")
  end
end)

-- The next times after `from` ("2026-03-28 12:00" in UTC), as UTC.
local function times(text, name, from, count)
  local spec, in_zone = assert(cron.read(text)), assert(zone.load(name))
  local at, all = assert(core.time.parse(from:gsub(" ", "T") .. ":00Z")), {}
  for i = 1, count do
    at = cron.next(spec, in_zone, at)
    all[i] = at and os.date("!%Y-%m-%d %H:%M", at)
  end
  return all
end

test("cron_fields_are_matched", function()
  for _, v in ipairs {
    { "0 3 * * 1", "2026-11-30 02:59", "2026-11-30 03:00", "2026-12-07 03:00" },
    { "0 3 * * 1", "2026-11-30 03:00", "2026-12-07 03:00" },
    { "*/20 9-17/8 * * *", "2026-01-01 09:30", "2026-01-01 09:40", "2026-01-01 17:00", "2026-01-01 17:20" },
    { "5,10 0 1 jan,JUL *", "2026-01-01 00:05", "2026-01-01 00:10", "2026-07-01 00:05" },
    { "0 0 13 * fri", "2026-11-01 00:00", "2026-11-06 00:00", "2026-11-13 00:00" },
    { "0 0 * * 7", "2026-11-30 00:00", "2026-12-06 00:00" },
    { "0 0 * * sun-tue", "2026-12-01 00:00", "2026-12-06 00:00" },
    { "0 0 29 2 *", "2026-03-01 00:00", "2028-02-29 00:00", "2032-02-29 00:00" },
    { "0 0 29 2 *", "2096-03-01 00:00", "2104-02-29 00:00" }, { "0 0 31 * *", "2026-01-31 00:00", "2026-03-31 00:00" },
    { "@hourly", "2026-12-31 23:00", "2027-01-01 00:00" }, { "@yearly", "2026-01-01 00:00", "2027-01-01 00:00" },
    { "59 23 31 12 *", "2026-12-31 23:58", "2026-12-31 23:59", "2027-12-31 23:59" },
  } do
    check.equal(times(v[1], "UTC", v[2], #v - 2), table.move(v, 3, #v, 1, {}))
  end
  check.equal(times("0 0 30 2 *", "UTC", "2026-01-01 00:00", 1), {})
end)

test("cron_follows_the_clocks_of_a_zone", function()
  -- Berlin: 2026-03-29 02:00 becomes 03:00, 2026-10-25 03:00 becomes 02:00
  check.equal(times("30 3 * * *", "Europe/Berlin", "2026-03-28 12:00", 2), { "2026-03-29 01:30", "2026-03-30 01:30" })
  check.equal(times("30 2 * * *", "Europe/Berlin", "2026-03-28 12:00", 1), { "2026-03-30 00:30" })
  check.equal(times("30 2 * * *", "Europe/Berlin", "2026-10-24 12:00", 2), { "2026-10-25 00:30", "2026-10-26 01:30" })
  check.equal(times("30 * * * *", "Europe/Berlin", "2026-10-25 00:00", 3),
    { "2026-10-25 00:30", "2026-10-25 01:30", "2026-10-25 02:30" })
  check.equal(times("0 0 * * *", "Europe/Berlin", "2026-03-28 23:00", 2), { "2026-03-29 22:00", "2026-03-30 22:00" })
  check.equal(times("0 9 * * mon", "America/New_York", "2026-11-01 00:00", 2),
    { "2026-11-02 14:00", "2026-11-09 14:00" })
  check.equal(times("15 0 * * *", "Asia/Kathmandu", "2026-11-01 00:00", 1), { "2026-11-01 18:30" })
  check.equal(times("0 0 * * *", "America/Sao_Paulo", "2018-11-03 12:00", 2),
    { "2018-11-05 02:00", "2018-11-06 02:00" })      -- on the 4th they went from 23:59 to 01:00
end)

test("cron_wrong_specifications_are_named", function()
  for text, words in pairs {
    ["* * * *"] = "has 4 fields, not 5", [""] = "has 0 fields", ["60 * * * *"] = "60 is no minute",
    ["* 24 * * *"] = "24 is no hour", ["* * 0 * *"] = "0 is no day of the month", ["* * * 13 *"] = "13 is no month",
    ["* * * * 8"] = "8 is no day of the week", ["5-1 * * * *"] = "5-1 is no minute",
    ["*/0 * * * *"] = "*/0 is no minute",
    ["1, * * * *"] = "1, is no minute", ["x * * * *"] = "x is no minute", ["-1 * * * *"] = "-1 is no minute",
    ["* * * foo *"] = "foo is no month", ["@reboot"] = "has 1 fields",
  } do
    local spec, why = cron.read(text)
    check.equal(spec, nil)
    check.has(why, words)
  end
  check.has(select(2, cron.read(5)), "must be a text")
end)
