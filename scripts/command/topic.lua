--- lignum topic: lists, shows, creates, changes, trims and deletes topics.
local core = require "lignum.core"
local remote = require "lignum.remote"
local shell = require "lignum.shell"
local system = require "lignum.system"

local json = core.json

local COLUMNS <const> = {
  { "TOPIC", "name" }, { "FIRST", "first" }, { "NEXT", "next" }, { "BYTES", "bytes" }, { "MODE", "replication" },
  { "COPIES", "copies" },
}

local function topic_path(name) return remote.path { "topics", name } end

local function show(flags, topic)
  if flags.json_out then return shell.json(topic) end
  shell.members(topic)
end

-- Values of settings: JSON where they are some, else text. Sizes and spans have the units of lignum.lua.
local UNITS <const> = {
  s = 1, m = 60, h = 3600, d = 86400, KB = 1000, MB = 1000 ^ 2, GB = 1000 ^ 3, TB = 1000 ^ 4,
  KiB = 1024, MiB = 1024 ^ 2, GiB = 1024 ^ 3, TiB = 1024 ^ 4,
}

local function value_of(text)
  local number, unit = text:match("^(%d+%.?%d*)%s*(%a+)$")
  if number and UNITS[unit] then
    local value = tonumber(number) * UNITS[unit]
    return math.tointeger(value) or value
  end
  local value = json.decode(text)
  if value == nil then return text end
  return value
end

---{"retain.age=7d"} is { retain = { age = 604800 } }.
local function settings_of(args, first)
  local settings = {}
  for i = first, #args do
    local path, text = args[i]:match("^([%w_.]+)=(.*)$")
    if not path then shell.fail(64, "%s: settings are KEY.PATH=VALUE, such as retain.age=7d", args[i]) end
    local at, last = settings, nil
    for name in path:gmatch("[^.]+") do
      if last then
        at[last] = at[last] or {}
        at = at[last]
        if type(at) ~= "table" then shell.fail(64, "%s: %s is given twice", args[i], last) end
      end
      last = name
    end
    at[last or shell.fail(64, "%s: no key", args[i])] = value_of(text)
  end
  return settings
end

local function ls(args, flags, node)
  local all, after = json.array {}, nil
  repeat
    local page = node:json("GET", remote.path({ "topics" }, {
      pattern = args[1], after = after, limit = 1000, internal = flags.internal and 1 or nil }))
    table.move(page.topics, 1, #page.topics, #all + 1, all)
    after = page.after
  until not after
  if flags.json_out then return shell.json(all) end
  shell.rows(COLUMNS, all)
end

local function new(args, flags, node)
  show(flags, node:json("PUT", topic_path(args[1]), { json = settings_of(args, 2) }))
end

local function set(args, flags, node)
  show(flags, node:json("PATCH", topic_path(args[1]), { json = settings_of(args, 2) }))
end

local function rm(args, flags, node)
  local path = topic_path(args[1])
  if not flags.yes then
    if not system.terminal(0) then shell.fail(64, "without a terminal, --yes is needed to delete %s", args[1]) end
    local topic = node:json("GET", path)
    if not shell.confirm(("delete %s with its %d messages?"):format(args[1], topic.next - topic.first)) then
      shell.fail(1, "%s is kept", args[1])
    end
  end
  node:request("DELETE", path)
end

local SETTINGS <const> = "KEY.PATH=VALUE..."

return {
  summary = "topics: lists, shows, creates, changes and deletes them", remote = true,
  help = "Settings: replication, copies, durability, retain.age|bytes|messages|groups, segment.age|bytes|messages,\n"
    .. "dedupe.age|keys. Values take units: 7d, 10GiB.",
  verbs = {
    { name = "ls", summary = "lists topics", usage = "[PATTERN]", args = { 0, 1 }, run = ls,
      flags = { { "--internal", nil, "the broker's own, too" } } },
    { name = "show", summary = "shows one", usage = "TOPIC", args = { 1, 1 },
      run = function(args, flags, node) show(flags, node:json("GET", topic_path(args[1]))) end },
    { name = "new", summary = "creates one", usage = "TOPIC [" .. SETTINGS .. "]", args = { 1 }, run = new },
    { name = "set", summary = "changes settings", usage = "TOPIC " .. SETTINGS, args = { 2 }, run = set },
    { name = "rm", summary = "deletes one with all its messages", usage = "TOPIC", args = { 1, 1 }, run = rm,
      flags = { { "--yes", nil, "does not ask" } } },
  },
}
