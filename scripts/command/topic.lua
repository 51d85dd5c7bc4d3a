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
  show(flags, node:json("PUT", topic_path(args[1]), { json = shell.settings(args, 2) }))
end

local function set(args, flags, node)
  show(flags, node:json("PATCH", topic_path(args[1]), { json = shell.settings(args, 2) }))
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

-- Retention is each node's own, so all that can be reached are told.
local function trim(args, flags, node)
  local before = flags.before or shell.fail(64, "--before PLACE says what is to go")
  local first
  for _, one in ipairs(node:members()) do
    local left = one:json("POST", remote.path { "topics", args[1], "trim" }, { json = { before = before } })
    first = math.max(first or 0, left.first)
  end
  if flags.json_out then return shell.json { topic = args[1], first = first } end
  shell.out(("%s begins at %d\n"):format(args[1], first))
end

local SETTINGS <const> = "KEY.PATH=VALUE..."

return {
  summary = "topics: lists, shows, creates, changes, trims and deletes them", remote = true,
  help = "Settings: replication, copies, durability, retain.age|bytes|messages|groups, expire,\n"
    .. "segment.age|bytes|messages, dedupe.age|keys. Values take units: 7d, 10GiB.",
  verbs = {
    { name = "ls", summary = "lists topics", usage = "[PATTERN]", args = { 0, 1 }, run = ls,
      flags = { { "--internal", nil, "the broker's own, too" } } },
    { name = "show", summary = "shows one", usage = "TOPIC", args = { 1, 1 },
      run = function(args, flags, node) show(flags, node:json("GET", topic_path(args[1]))) end },
    { name = "new", summary = "creates one", usage = "TOPIC [" .. SETTINGS .. "]", args = { 1 }, run = new },
    { name = "set", summary = "changes settings", usage = "TOPIC " .. SETTINGS, args = { 2 }, run = set },
    { name = "trim", summary = "removes whole files of messages before a place, on all nodes", usage = "TOPIC",
      args = { 1, 1 }, run = trim, flags = { { "--before", "PLACE", "offset, token, time, -30d, latest" } } },
    { name = "rm", summary = "deletes one with all its messages", usage = "TOPIC", args = { 1, 1 }, run = rm,
      flags = { { "--yes", nil, "does not ask" } } },
  },
}
