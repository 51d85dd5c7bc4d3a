--- Replication: up to which offset WAL topics are shipped to followers, and the hooks that are called when the cluster
--- changes. Three duties: ship, choose and tell.
---
--- The core offers topic:ship(offset): messages below that offset may be sent to followers, as far as the leader has
--- synced them. The WAL mode is wal() below: a sealed file is shipped at once, the rest every cluster.sync_interval.
--- The hook `ship` replaces it. Live topics need no decision: the core sends each batch as soon as it is appended.
local core = require "lignum.core"
local modules = require "lignum.modules"
local notice = require "lignum.notice"
local roster = require "lignum.roster"

local cluster, say, clock = core.cluster, core.say, core.time.clock

local M = {}

local IDLE <const> = 5             -- seconds between two checks when the core reports no change
local INTERVAL <const> = 0.05      -- the pause between two rounds without cluster.sync_interval, at least;
local SHARE <const> = 19           -- it is SHARE times as long as the last round took, which has 1 / (SHARE + 1) then,
local LONGEST <const> = 1          -- and at most this
local PIECE <const> = 200          -- topics after which other tasks get a turn

local live                         ---@type lignum.World
local told_of_wal = false          -- whether the log says that this cluster takes messages in WAL mode

---@class lignum.Pending
---@field topic lignum.Topic
---@field tail integer
---@field disk integer      all messages below it are on the leader's disk
---@field sealed integer    first offset of the active file
---@field shipped integer   messages below it may already be sent
---@field due boolean       sync_interval has passed

---The WAL mode.
---@param p lignum.Pending
---@return integer offset
function M.wal(p)
  return p.due and p.disk or p.sealed
end

-- The answer of the hook `ship`, checked. Without one: nil, why, and whether the hook did not answer in time.
local function hook_offset(p)
  local hook, place = live.hooks.get("ship")
  local asked = modules.copy(p)
  asked.topic = p.topic.name
  local ok, offset, late = live.hooks.ask("ship", place, hook, asked)
  if not ok then return nil, offset, late end
  if offset == nil then return p.shipped end
  if math.type(offset) ~= "integer" then
    return nil, ("%s: ship must return an offset or nothing, not a %s"):format(place, type(offset))
  end
  if offset <= p.disk then return offset end
  return nil, place .. ": ship returned an offset beyond p.disk"
end

-- Ships by the hook `ship` or the WAL mode. When the hook fails, the WAL mode is used: it ships more, not less. One
-- that does not answer in time is not asked again for this list, so that it holds up the duty once only.
local function ship_all(list, due)
  local asks, problem = live.hooks.get("ship") ~= nil, nil
  for i, p in ipairs(list) do
    p.due = due
    local offset, why, late
    if asks then offset, why, late = hook_offset(p) end
    problem, asks = problem or why, asks and not late
    offset = offset or M.wal(p)
    if offset > p.shipped then p.topic:ship(offset) end
    if i % PIECE == 0 then core.sleep(0) end
  end
  if problem then
    -- Code that computes runs out of its budget or of time, in turn: that is one state, of one line.
    local line, said = problem:match("%S+:%d+:"), notice.current.ship
    if not (line and said and said:find(line, 1, true)) then
      notice.set("ship", problem .. "; the WAL mode decides instead", "error")
    end
  elseif list[1] then
    notice.clear("ship")
  end
end

-- Says once in the life of a process what the mode of these topics, the default, may lose.
local function tell_of_wal(list)
  if told_of_wal or #list == 0 then return end
  told_of_wal = true
  say.info(('cluster: topic %s is replicated in mode "wal": a failover may lose messages acknowledged in the last %g s '
    .. '(cluster.sync_interval); replication = "live" with copies = 2 loses none (said once, of the first such topic)')
    :format(list[1].topic.name, live.config.values.cluster.sync_interval or INTERVAL))
end

-- Ships all topics that have something to ship. One call of pending() returns a limited number of topics, those first
-- that it has not returned for longest; this repeats the call until only topics return that were shipped already.
-- Whether there are such topics: they have got more, or the hook has not shipped them.
local function ship_due(list)
  local seen = {}
  while #list > 0 do
    local fresh = {}
    for _, p in ipairs(list) do
      if not seen[p.topic.name] then fresh[#fresh + 1] = p end
      seen[p.topic.name] = true
    end
    if #fresh == 0 then return true end
    ship_all(fresh, true)
    list = cluster.pending(0) or {}
  end
  return false
end

-- Waits for topics with something to ship, at most until `deadline`. A node that does not lead has none.
local function wait_for_pending(deadline)
  if roster.status().role == "leader" then return cluster.pending(math.max(deadline - clock(), 0.001)) end
  local _, why, code = cluster.wait(IDLE)
  if code then return nil, why, code end
  return {}
end

-- Seconds until the next round, after one that took so long.
local function pause_after(took)
  local wanted = live.config.values.cluster.sync_interval
  return wanted or math.min(math.max(INTERVAL, SHARE * took), LONGEST)
end

-- While there is nothing to ship this waits for it, without waking up each interval.
local function ship()
  local next_sync, waiting = clock(), false
  while true do
    local list, why, code = wait_for_pending(waiting and next_sync or clock() + IDLE)
    if code == "stopping" then return end
    list = list or {}
    local began = clock()
    local due = began >= next_sync
    tell_of_wal(list)
    if due then
      waiting = ship_due(list)
      next_sync = clock() + pause_after(clock() - began)
    else
      ship_all(list, false)
      waiting = #list > 0
    end
    if why then core.sleep(1) end
  end
end

-- Sets a topic's replication to the mode that its rule's function chooses. Returns why it has not chosen, and whether
-- it did not answer in time.
local function choose_mode(topic)
  local info = topic:info()
  local chosen, problem, late = live.policy.chosen(topic.name)
  if problem then return problem, late end
  if not info or not chosen or chosen.replication == info.replication then return end
  local done, why = topic:set(chosen)
  if done then
    say.info(("cluster: the replication of topic %s is now %s"):format(topic.name, chosen.replication))
  else
    say.warn(("cluster: the replication of topic %s cannot be changed to %s: %s"):format(topic.name,
      chosen.replication, why))
  end
end

-- Asks the rules of all topics. They keep their modes where a rule's function fails; one that does not answer in time
-- ends the round.
local function choose_all()
  local problem
  for i, topic in ipairs(core.topics()) do
    local why, late = choose_mode(topic)
    problem = problem or why
    if late then break end
    if i % PIECE == 0 then core.sleep(0) end
  end
  if problem then notice.set("replication", problem, "error") else notice.clear("replication") end
end

-- The part of the cluster's state that rule functions decide by: when it changes, they are called again.
local function summary(status)
  local parts = { status.role, status.epoch, table.concat(roster.synced(status), ",") }
  for _, f in ipairs(status.followers) do parts[#parts + 1] = f.name .. tostring(f.connected) end
  return table.concat(parts, " ")
end

local function choose()
  local before, world
  while true do
    local status = roster.status()
    local now = summary(status)
    if status.role == "leader" and live.policy.has_functions() and (now ~= before or world ~= live) then
      choose_all()
    end
    before, world = now, live
    if select(3, cluster.wait(IDLE)) == "stopping" then return end
  end
end

-- Calls the hook on_leader_change.
local function tell()
  local before
  while true do
    local status = roster.status()
    local now = { epoch = status.epoch, leader = status.leader and status.leader.name }
    local hook, place = live.hooks.get("on_leader_change")
    if hook and before and (now.epoch ~= before.epoch or now.leader ~= before.leader) then
      local event = { leader = status.leader, epoch = now.epoch, leads = status.role == "leader", was = before.leader }
      local ok, why = live.hooks.ask("on_leader_change", place, hook, event)
      if not ok then say.error(why) end
    end
    before = now
    if select(3, cluster.wait(IDLE)) == "stopping" then return end
  end
end

---Uses what a (re)load has made live.
---@param world lignum.World
function M.use(world)
  live = world
end

---@return { seconds: number, fn: function, where: string, duty: boolean }[]
function M.duties()
  return {
    { seconds = 1, fn = ship, where = "the cluster's duty ship", duty = true },
    { seconds = 1, fn = choose, where = "the cluster's duty choose", duty = true },
    { seconds = 1, fn = tell, where = "the cluster's duty tell", duty = true },
  }
end

return M
