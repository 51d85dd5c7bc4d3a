-- The bounds of core/base/limits.h and the defaults of schema.lua, compared with everything that repeats them.
local check = require "check"
local core = require "lignum.core"
local help = require "lignum.help"
local schema = require "lignum.schema"
local function test(name, fn) check.test(print, name, fn) end

local limits = core.limits

local function page(name) return (assert(core.read_file(check.root .. "/doc/" .. name))) end

local UNIT = { [""] = 1, KiB = 1 << 10, MiB = 1 << 20, GiB = 1 << 30, s = 1 }

-- The number in "64 MiB", "30 s" or "65,536"; nil for other text.
local function number_in(text)
  local digits, unit = text:gsub(",", ""):match("^([%d.]+) ?(%a*)$")
  return digits and UNIT[unit] and tonumber(digits) * UNIT[unit]
end

-- A number of bytes as the pages write it.
local function size(n)
  local unit = n % UNIT.GiB == 0 and "GiB" or n % UNIT.MiB == 0 and "MiB" or "KiB"
  return ("%d %s"):format(n // UNIT[unit], unit)
end

test("limits_in_http_md_are_those_of_the_core", function()
  local text, rows = page "http.md", 0
  for name, value in text:match("\n## Limits\n(.-)\n## "):gmatch("\n| `([%w_]+)` | ([^|]-) |") do
    check.equal({ name, number_in(value) }, { name, limits[name] })
    rows = rows + 1
  end
  check.equal(rows, 30)
  check.has(text, ("`[A-Za-z0-9._-]{1,%d}`"):format(limits.topic_name_max))
  check.has(text, ("`limit=` (default %d, at most %d)"):format(limits.topics_page_default, limits.topics_page_max))
  check.has(text, ("messages (default %d, at most %d) and bytes (default %s, at most %s)"):format(
    limits.read_count_default, limits.read_count_max, size(limits.read_size_default), size(limits.read_size_max)))
  check.has(text, ("`segment.bytes` of a topic; at least %s"):format(size(limits.segment_bytes_min)))
  check.has(text, ("| `wait` | seconds, at most %d:"):format(limits.wait_ms_max // 1000))
end)

test("limits_that_are_met_first_stand_where_reading_begins", function()
  local function count(n) return (("%d"):format(n):gsub("(%d)(%d%d%d)$", "%1,%2")) end
  local top = page("http.md"):match("^(.-)\n## "):gsub("\n", " ")
  check.has(top, ("A message has at most %s, its key %s and its headers %s."):format(
    size(limits.payload_size_max), size(limits.key_size_max), size(limits.headers_size_max)))
  check.has(top, ("One publish has at most %s messages and %s;"):format(count(limits.batch_count_max),
    size(limits.batch_size_max)))
  check.has(top, ("one read returns at most %s messages and %s, by default %s messages and %s."):format(
    count(limits.read_count_max), size(limits.read_size_max), count(limits.read_count_default),
    size(limits.read_size_default)))
  check.has(page "../README.md", ("A message has at most %s, one publish at most %s messages and %s;"):format(
    size(limits.payload_size_max), count(limits.batch_count_max), size(limits.batch_size_max)))
end)

test("limits_in_wire_md_are_those_of_the_core", function()
  local text = page("wire.md"):gsub("%s+", " ")
  for _, words in ipairs {
    ("handshake is done, a connection may send at most %s."):format(size(limits.link_tls_handshake_max)),
    ("Until WELCOME, a frame is limited to %s; after that to %s + %s."):format(size(limits.link_greeting_max),
      size(limits.batch_size_max), size(limits.link_frame_max - limits.batch_size_max)),
    ("may take at most %d seconds."):format(limits.handshake_ms // 1000),
    ("A leader has at most %d connections, including handshakes;"):format(limits.links_max),
    ("when nothing else was sent for %d ms"):format(limits.ping_ms),
    ("A link on which nothing arrives for %d seconds is dead."):format(limits.silence_ms // 1000),
  } do check.has(text, words) end
end)

test("limits_in_api_md_are_those_of_the_core", function()
  check.has(page "api.md", ("seconds; default and maximum %d"):format(limits.wait_ms_max // 1000))
end)

test("limits_in_operate_md_are_those_of_the_schema", function()
  local text = page "operate.md"
  local function row(path, k)
    local default, meaning = text:match("\n| `" .. path:gsub("%p", "%%%0") .. "` | ([^|]-) | ([^\n]-) |\n")
    if not default then error("operate.md has no row for " .. path) end
    local n = number_in(default)
    if n then check.equal({ path, n == k.default }, { path, true }) end
    local most, least = meaning:match("at most (%d[%d,]* ?%a*B?)"), meaning:match("at least (%d[%d,]*)")
    most, least = most and number_in(most), least and number_in(least)
    if most then check.equal({ path, most }, { path, k.max }) end
    if least then check.equal({ path, least }, { path, k.min }) end
  end
  help.each_key(schema.keys, "", row)
  check.has(text, ("are at their limit of %d"):format(limits.fetches_max - limits.fetches_reserved))
end)

test("limits_in_openapi_are_those_of_the_core", function()
  local _, own = check.draft(nil)
  local document = own("routes.openapi").document
  local settings = document.components.schemas.Settings.properties
  check.equal({ settings.copies.minimum, settings.copies.maximum }, { 1, limits.copies_max })
  check.equal(settings.retain.properties.age.maximum, limits.age_s_max)
  check.equal(settings.segment.properties.bytes.minimum, limits.segment_bytes_min)
  check.equal(settings.durability.enum, { "commit", "interval", "os" })
  local topic = document.paths["/v1/topics/{topic}"].parameters[1]
  check.has(topic.schema.pattern, ("{0,%d}"):format(limits.topic_name_max - 1))
end)

test("limits_of_settings_are_the_same_in_the_schema_and_in_the_core", function()
  local t, checked = core.topic "limits.settings", 0
  t:create { replication = "live" }      -- copies count for live topics only
  local function set(path, value)
    local settings, group, name = {}, path:match("^(%w+)%.(%w+)$")
    if group then settings[group] = { [name] = value } else settings[path] = value end
    local _, _, code = t:set(settings)
    return code
  end
  help.each_key(schema.settings, "", function(path, k)
    if not k.max then return end
    check.equal({ path, set(path, k.min), set(path, k.max) }, { path, nil, nil })
    check.equal({ path, set(path, k.min - 1), set(path, k.max + 1) }, { path, "bad_value", "bad_value" })
    checked = checked + 1
  end)
  check.equal(checked, 10)
  t:delete()
end)
