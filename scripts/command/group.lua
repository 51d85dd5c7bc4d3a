--- lignum group: consumer groups of a topic.
local core = require "lignum.core"
local remote = require "lignum.remote"
local shell = require "lignum.shell"
local system = require "lignum.system"

local json = core.json

local COLUMNS <const> = {
  { "GROUP", "group" }, { "LAG", "lag" }, { "LEASED", "leased" }, { "SCHEDULED", "scheduled" },
  { "OLDEST", "age" }, { "DEAD", "dead" }, { "CONSUMERS", "count" },
}
local LETTERS <const> = { { "OFFSET", "offset" }, { "OF", "of" }, { "DELIVERIES", "deliveries" }, { "WHY", "why" } }
local PAGE <const> = 1000

local function group_path(args, ...)
  return remote.path { "topics", args[1], "groups", args[2], ... }
end

local function show(flags, group)
  if flags.json_out then return shell.json(group) end
  shell.members(group)
end

local function ls(args, flags, node)
  local groups = node:json("GET", remote.path { "topics", args[1], "groups" }).groups
  if flags.json_out then return shell.json(groups) end
  for _, g in ipairs(groups) do
    g.age = type(g.oldest) == "table" and ("%d s"):format(g.oldest.age // 1) or json.null
    g.count = #g.consumers
  end
  shell.rows(COLUMNS, groups)
end

local function new(args, flags, node)
  show(flags, node:json("PUT", group_path(args), { json = shell.settings(args, 3) }))
end

local function set(args, flags, node)
  show(flags, node:json("PATCH", group_path(args), { json = shell.settings(args, 3) }))
end

local function rm(args, flags, node)
  if not flags.yes then
    if not system.terminal(0) then shell.fail(64, "without a terminal, --yes is needed to delete %s", args[2]) end
    local group = node:json("GET", group_path(args))
    if not shell.confirm(("delete group %s of %s, with a lag of %d?"):format(args[2], args[1], group.lag)) then
      shell.fail(1, "%s is kept", args[2])
    end
  end
  node:request("DELETE", group_path(args))
end

local function seek_to(place)
  return function(args, flags, node)
    show(flags, node:json("POST", group_path(args, "seek"), { json = { to = place or args[3] } }))
  end
end

-- The letters of this group on its topic of dead letters.
local function letters_of(args, group, node)
  local letters, from = json.array {}, "earliest"
  local topic = group.settings.dead_letter
  if topic == json.null or not topic then
    shell.fail(66, "the group has no dead_letter topic; %d messages are dead", group.dead)
  end
  while true do
    local page = node:json("GET", remote.path({ "topics", topic, "messages" }, { from = from, limit = PAGE }))
    for _, m in ipairs(page.messages) do
      local h = m.headers or {}
      if h["lignum-dead-topic"] == args[1] and h["lignum-dead-group"] == args[2] then letters[#letters + 1] = m end
    end
    if #page.messages == 0 then return letters end
    from = page.next_token
  end
end

local function dead(args, flags, node)
  if flags.redrive then
    local published = 0
    repeat
      local some = node:json("POST", group_path(args, "redrive"), { json = { to = flags.to }, fresh = true }).published
      published = published + some
    until some == 0
    if flags.json_out then return shell.json { published = published } end
    return shell.out(("%d messages are published again\n"):format(published))
  end
  if flags.to then shell.fail(64, "--to is for --redrive") end
  local letters = letters_of(args, node:json("GET", group_path(args)), node)
  if flags.json_out then
    for _, letter in ipairs(letters) do shell.json(letter) end
    return
  end
  for _, letter in ipairs(letters) do
    local h = letter.headers
    letter.of, letter.why = h["lignum-dead-offset"], h["lignum-dead-why"]
    letter.deliveries = h["lignum-dead-deliveries"]
  end
  shell.rows(LETTERS, letters)
end

local ONE <const> = "TOPIC GROUP"

return {
  summary = "consumer groups: lists, shows, moves, creates and deletes them", remote = true,
  help = "Settings: lease_time, deliveries, lease_max, order, retry.min, retry.max, retry.factor, expire,\n"
    .. " dead_letter, expired, filter; and from, where a new one begins. Values take units: 30s, 5m.",
  verbs = {
    { name = "ls", summary = "lists the groups of a topic", usage = "TOPIC", args = { 1, 1 }, run = ls },
    { name = "show", summary = "shows one", usage = ONE, args = { 2, 2 },
      run = function(args, flags, node) show(flags, node:json("GET", group_path(args))) end },
    { name = "new", summary = "creates one", usage = ONE .. " [KEY=VALUE...]", args = { 2 }, run = new },
    { name = "set", summary = "changes settings", usage = ONE .. " KEY=VALUE...", args = { 3 }, run = set },
    { name = "seek", summary = "goes on from an offset, token, time (-15m), earliest or latest",
      usage = ONE .. " PLACE", args = { 3, 3 }, run = seek_to(nil) },
    { name = "reset", summary = "begins anew: with the earliest message", usage = ONE, args = { 2, 2 },
      run = seek_to("earliest") },
    { name = "dead", summary = "lists dead letters, or publishes them again", usage = ONE, args = { 2, 2 }, run = dead,
      flags = { { "--redrive", nil, "publishes each once more" },
                { "--to", "TOPIC", "there, and not to the group's own topic" } } },
    { name = "rm", summary = "deletes one", usage = ONE, args = { 2, 2 }, run = rm,
      flags = { { "--yes", nil, "does not ask" } } },
  },
}
