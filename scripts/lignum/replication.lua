--- How far followers of WAL topics are sent, and which topics are live: what Lua decides about
--- replication, and the hooks that are asked or told when the cluster changes.
---
--- The core offers one thing: topic:ship(offset), how far followers may be sent (never beyond what the
--- leader has on disk). The WAL mode is wal() below: a sealed file at once, the rest each
--- cluster.sync_interval. An operator's own mode is a function of the same form, `ship` in lignum.lua.
--- Live topics need nobody here: the core sends each batch as it comes.
local core = require "lignum.core"
local roster = require "lignum.roster"

local cluster, say, clock = core.cluster, core.say, core.time.clock

local M = {}

local IDLE <const> = 5             -- seconds between two looks of a node that does not lead
local PIECE <const> = 200          -- topics between two chances for the others

local live                         ---@type lignum.World

---@class lignum.Pending
---@field topic lignum.Topic
---@field tail integer
---@field disk integer      below it everything is on the leader's disk
---@field sealed integer    where the file being written begins
---@field shipped integer
---@field due boolean       sync_interval has gone by

---The WAL mode.
---@param p lignum.Pending
---@return integer offset
function M.wal(p)
  return p.due and p.disk or p.sealed
end

-- The operator's own mode, where there is one. A failing one falls back to the WAL mode, which ships more, not less.
local function offset_of(p)
  if not live.hooks.get("ship") then return M.wal(p) end
  local ok, offset = pcall(live.hooks.call, "ship", p)
  if ok and offset == nil then return p.shipped end
  if ok and math.type(offset) == "integer" then return offset end
  say.error(ok and "ship must return an offset or nothing, not a " .. type(offset) or tostring(offset))
  return M.wal(p)
end

local function ship_all(list, due)
  for i, p in ipairs(list) do
    p.due = due
    local offset = offset_of(p)
    if offset > p.shipped then p.topic:ship(offset) end
    if i % PIECE == 0 then core.sleep(0) end
  end
end

-- The core names only so many at once, and those first that it has not named for longest: each topic is looked at once.
local function ship_due(list)
  local seen = {}
  while #list > 0 do
    local fresh = {}
    for _, p in ipairs(list) do
      if not seen[p.topic.name] then fresh[#fresh + 1] = p end
      seen[p.topic.name] = true
    end
    if #fresh == 0 then return end
    ship_all(fresh, true)
    list = cluster.pending(0) or {}
  end
end

-- Topics with something to ship; a node that does not lead has none.
local function wait_for_some(until_then)
  if roster.status().role == "leader" then return cluster.pending(math.max(until_then - clock(), 0.001)) end
  local _, why, code = cluster.wait(IDLE)
  if code then return nil, why, code end
  return {}
end

local function ship()
  local next_sync = clock()
  while true do
    local list, why, code = wait_for_some(next_sync)
    if code == "stopping" then return end
    local due = clock() >= next_sync
    if due then ship_due(list or {}) else ship_all(list or {}, false) end
    if why then core.sleep(1) end
    if due then next_sync = clock() + live.config.values.cluster.sync_interval end
  end
end

-- Gives a topic the mode that its rule's function chooses now.
local function decide(topic)
  local info = topic:info()
  local ok, chosen = pcall(live.policy.chosen, topic.name)
  if not ok then return say.error(tostring(chosen)) end
  if not info or not chosen or chosen == info.replication then return end
  local done, why = topic:set { replication = chosen }
  if done then
    say.info(("cluster: topic %s is %s from now on"):format(topic.name, chosen))
  else
    say.warn(("cluster: topic %s cannot become %s: %s"):format(topic.name, chosen, why))
  end
end

-- What a rule's function may look at: when it changes, the function is asked again.
local function picture(status)
  local parts = { status.role, status.epoch, table.concat(roster.synced(status), ",") }
  for _, f in ipairs(status.followers) do parts[#parts + 1] = f.name .. tostring(f.connected) end
  return table.concat(parts, " ")
end

local function choose()
  local before, world
  while true do
    local status = roster.status()
    local now = picture(status)
    if status.role == "leader" and live.policy.has_functions() and (now ~= before or world ~= live) then
      for i, topic in ipairs(core.topics()) do
        decide(topic)
        if i % PIECE == 0 then core.sleep(0) end
      end
    end
    before, world = now, live
    if select(3, cluster.wait(IDLE)) == "stopping" then return end
  end
end

-- Tells the operator's on_leader_change.
local function tell()
  local before
  while true do
    local status = roster.status()
    local now = { epoch = status.epoch, leader = status.leader and status.leader.name }
    if before and (now.epoch ~= before.epoch or now.leader ~= before.leader) and live.hooks.get("on_leader_change") then
      local event = { leader = status.leader, epoch = now.epoch, leads = status.role == "leader", was = before.leader }
      local ok, why = pcall(live.hooks.call, "on_leader_change", event)
      if not ok then say.error(tostring(why)) end
    end
    before = now
    if select(3, cluster.wait(IDLE)) == "stopping" then return end
  end
end

---Takes what a (re)load has made live.
---@param world lignum.World
function M.use(world)
  live = world
end

---@return { seconds: number, fn: function, where: string, duty: boolean }[]
function M.duties()
  return {
    { seconds = 1, fn = ship, where = "the cluster's duty to ship", duty = true },
    { seconds = 1, fn = choose, where = "the cluster's duty to choose modes", duty = true },
    { seconds = 1, fn = tell, where = "the cluster's duty to tell", duty = true },
  }
end

return M
