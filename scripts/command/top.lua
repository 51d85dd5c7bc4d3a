--- lignum top: nodes and the busiest topics, live in the terminal.
local core = require "lignum.core"
local remote = require "lignum.remote"
local shell = require "lignum.shell"
local system = require "lignum.system"

local json = core.json

local NODES <const> = {
  { "NODE", "name" }, { "ROLE", "role" }, { "IN SET", "in_set" }, { "LAG", "lag" }, { "LAG S", "lag_seconds" },
}
local TOPICS <const> = { { "TOPIC", "name" }, { "MSG/S", "rate" }, { "NEXT", "next" }, { "BYTES", "bytes" } }
local LINES <const> = 20

-- What there is now, with rates since `before`.
local function look(node, before)
  local now = { at = core.time.clock(), topics = {}, order = json.array {} }
  now.cluster = node:json("GET", remote.path { "cluster" })
  local after
  repeat
    local page = node:json("GET", remote.path({ "topics" }, { after = after, limit = 10000 }))
    for _, t in ipairs(page.topics) do
      local old = before and before.topics[t.name]
      local rate = old and (t.next - old.next) / (now.at - before.at) or 0
      local one = { name = t.name, next = t.next, bytes = t.bytes, rate = math.max(0, math.floor(rate + 0.5)) }
      now.topics[t.name] = one
      now.order[#now.order + 1] = one
    end
    after = page.after
  until not after
  table.sort(now.order, function(a, b)
    if a.rate ~= b.rate then return a.rate > b.rate end
    return a.name < b.name
  end)
  return now
end

local function draw(node, now)
  local leader = now.cluster.leader
  shell.out("\27[H\27[J")
  shell.out(("%s   %s   leader %s   epoch %d   %d topics\n\n"):format(node:url(), core.time.format(core.now()),
    leader ~= json.null and leader.name or "-", now.cluster.epoch, #now.order))
  shell.rows(NODES, now.cluster.nodes)
  shell.out("\n")
  shell.rows(TOPICS, table.move(now.order, 1, math.min(#now.order, LINES), 1, {}))
end

local function run(_, flags, node)
  local columns = system.terminal(1)
  if not flags.json_out and not columns then shell.fail(64, "standard output is no terminal: use -o json") end
  local before, left = look(node), flags.count or math.huge
  while left > 0 and system.sleep(flags.interval or 1) do
    local now = look(node, before)
    if flags.json_out then
      local rate = 0
      for _, t in ipairs(now.order) do rate = rate + t.rate end
      shell.json { time = core.time.format(core.now()), cluster = now.cluster, rate = rate, topics = now.order }
    else
      draw(node, now)
    end
    before, left = now, left - 1
  end
  shell.check_interrupt()
end

return {
  summary = "nodes and the busiest topics, live", usage = "", args = { 0, 0 }, remote = true, run = run,
  help = "Ctrl-C ends it. With -o json it prints a line a second.",
  flags = {
    { "--interval", "SECONDS", "between two looks (default: 1)", type = "number" },
    { "--count", "N", "ends after so many looks", type = "integer" },
  },
}
