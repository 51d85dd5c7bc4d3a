--- Elections: the long-running duties that carry messages between Consul and the core.
---
--- The core alone decides what may be written to the synced register and when this node leads. This module decides when
--- to try. Three duties run side by side:
---
---     watch    follows lock, register and nodes at Consul in one blocking query, and acts on what it reads
---     renew    renews the session, confirms a leader's claim, and leaves the cluster at shutdown
---     react    acts on what the core notices: a leader that is gone, a change of the synced set
---
--- This module is loaded once and outlives reloads (modules.lua), so a new lignum.lua does not disturb the cluster. The
--- hooks and the addresses of Consul are those of the live configuration.
local consul = require "lignum.consul"
local core = require "lignum.core"
local members = require "lignum.member"
local notice = require "lignum.notice"
local register = require "lignum.synced_register"
local roster = require "lignum.roster"
local views = require "lignum.view"

local cluster, say, clock = core.cluster, core.say, core.time.clock

local M = {}

-- Times in seconds.
local QUERY <const> = 5            -- a blocking query waits that long: a dead connection is noticed after it
local RECHECK <const> = 1          -- until the next query when the lock is free and this node cannot take it
local GATHER <const> = 0.15        -- for the other nodes to publish their positions
local RANK <const> = 0.2           -- between the attempts of two nodes to lead
local RETRY_FIRST <const>, RETRY_MAX <const> = 0.1, 2   -- between two attempts to reach Consul
local REACT <const> = 1            -- react checks that often when the core reports no change
local REACT_UNCONNECTED <const> = 0.05   -- the same while there is no connection to the leader
local REACT_SILENT <const> = 0.2   -- the same while the leader is silent
local HAND_OVER <const> = 1        -- for followers to receive what a leader holds that stops leading and runs on
local STALLED_MAX <const> = 3      -- that a node waits for one that it does not reach, or longer: see patience()
local STAND_BACK <const> = 5       -- after which it tries to lead again, so that another node can before
local FULL <const> = 2             -- that a leader's disk is full, before it hands over
local TRIED <const> = 300          -- after which a node that did not reach a member may try again
local ARRIVE <const> = 3           -- that an operator's command waits for this node's session
local STEPS_MAX <const> = 40       -- steps of watch per second

local live                         ---@type lignum.World
local client                       ---@type lignum.Consul
local member                       ---@type lignum.Member
local next_query = QUERY           -- how long the next blocking query of watch waits; 0: not at all
local vacancy                      -- { since =, epoch = } while the lock is free
local not_before = 0               -- this node claims nothing before that time
local connected_to                 -- the leader that this node was last connected to
local unconnected_since            -- when this follower lost the connection to its leader
local offered                      -- { epoch =, at = }: this node stepped aside as the leader of that epoch
local full_since                   -- when this node's disk became full
local told = {}                    -- { full =, config = }: what this node's key says
local not_reached = {}             -- [session of a member] = when this node last found that it does not reach it
local started = false

local function resign(why)
  if cluster.status().role == "leader" then cluster.resign(why) end
end

-- Stops leading for another reason than a newer leader: the followers receive what this leader holds first.
local function hand_over(why)
  if cluster.status().role ~= "leader" then return end
  cluster.drain(HAND_OVER)
  resign(why)
end

local function lose_session(why)
  member.session = nil
  hand_over(why)
end

-- Releases the lock, which this node holds and does not lead: it has stopped by itself, or its claim was refused.
local function release_lock()
  not_before = math.max(not_before, clock() + RECHECK)
  local done, why, code = client:write(member.key, "", { release = member.session })
  if done == nil then return nil, why, code end
  next_query = 0
  return true
end

-- The lock is free ------------------------------------------------------------------------------

-- Whether this node may try to lead, and if not, why.
local function eligible(status)
  local verdict = register.verdict
  if verdict == "foreign" or verdict == "regressed" or verdict == "out_of_range" then
    return false, "the register is of another history"
  end
  if clock() < not_before then return false, "it has just released the lock" end
  local may = status.eligible
  if verdict == "empty" then may = status.empty end
  if not may then return false, status.why or "this node holds messages: see cluster.adopt()" end

  local hook, place = live.hooks.get("may_lead")
  if not hook then return true end
  local ok, allowed = live.hooks.ask("may_lead", place, hook, roster.state())
  if ok and allowed == true then return true end
  return false, ok and ("may_lead at %s does not allow it"):format(place) or allowed
end

-- All nodes publish their positions; the one that is furthest ahead tries first.
local function contend(view, status)
  if not status.connected then cluster.unfollow() end
  local now, epoch = clock(), 1 + (view.register and view.register.epoch or 0)
  if not vacancy or vacancy.epoch ~= epoch then vacancy = { since = now, epoch = epoch } end
  local may, problem = eligible(status)
  if may then
    notice.clear("eligible")
  else
    notice.set("eligible", "there is no leader, and this node does not try to lead: " .. problem)
  end

  local before = member.published
  local ok, why, code = member:publish(member:entry(status, { eligible = may, vacancy = epoch }))
  local was_known = ok and member.published == before   -- the other nodes could already read it
  next_query = was_known and RECHECK or 0
  if not ok or not may or not was_known then return ok, why, code end

  local rank, all_known = views.rank(view, member:entry(status, { eligible = true, vacancy = epoch }))
  local wait = vacancy.since + (all_known and 0 or GATHER) + rank * RANK - now
  next_query = math.max(wait, 0)
  if wait > 0 then return true end

  ok, why, code = register.claim(view)
  if ok == false then
    say.debug("cluster: did not get to lead: " .. why)
    next_query = RANK
  end
  return ok ~= nil, why, code
end

-- The lock is held ------------------------------------------------------------------------------

-- This node leads.
local function hold(view)
  local lock = view.lock
  if lock.session == member.session and lock.value == member:lock_value() then
    return member:publish(member:entry(cluster.status()))
  end
  if lock.session and lock.session ~= member.session then
    resign("another session holds the lock")
    return true
  end
  notice.line("lock", "the lock was deleted or overwritten; takes it again")
  local done, why, code = client:write(member.key, member:lock_value(), { session = member.session })
  if done == nil then return nil, why, code end
  if not done then hand_over("the lock is lost: " .. why) end
  next_query = 0
  return true
end

local function follow(view, status)
  local holder, r = views.holder(view), view.register
  if holder then
    notice.clear("holder")
  else
    notice.set("holder", "the holder of the lock is not a node of Lignum")
  end
  if register.verdict ~= "other" or not r then
    cluster.unfollow()
  elseif holder and holder.member == r.leader then
    cluster.follow { member = holder.member, http = holder.http, replication = holder.replication, epoch = r.epoch }
  elseif status.leader and status.leader.member ~= r.leader then
    cluster.unfollow()
  end
  return member:publish(member:entry(status))
end

-- watch ----------------------------------------------------------------------------------------

local function name_taken(why)
  notice.set("name", ("another node takes part under the name %s: this one does not until that is gone (%s)"):format(
    member.me.name, why), "error")
  next_query = RECHECK
end

-- A key that this session should hold and does not is a sign that the session is gone: asks Consul.
local function check_session(view)
  local mine = view.nodes[member.me.name]
  if not member.published or mine and mine.session == member.session then return true end
  local there, why, code = member:renew()
  if there == nil then return nil, why, code end
  if not there then
    lose_session("its session at Consul is gone")
    next_query = 0
  end
  member.published = nil
  return true
end

local function act(view)
  local status = cluster.status()
  -- The flag is set before nodes that do not know of the rollback can take the lock.
  if register.verdict == "regressed" and register.push() then
    next_query = RANK
    return true
  end
  if view.lock.session then vacancy = nil end
  if status.role == "leader" then return hold(view) end
  if not view.lock.session then return contend(view, status) end
  if view.lock.session == member.session then return release_lock() end
  return follow(view, status)
end

local function step()
  local ok, why, code = member:arrive()
  if ok == false then
    name_taken(why)
    core.sleep(RECHECK)
  end
  if not ok then return ok ~= nil, why, code end

  local view
  local wait = next_query
  next_query = QUERY
  view, why, code = register.follow(wait)
  if not view then return nil, why, code end
  ok, why, code = check_session(view)
  if not ok or not member.session or view.problem then return ok, why, code end

  ok, why, code = act(view)
  if ok == false then    -- this node's key could not be written
    if member.session then
      name_taken(why)
    else
      hand_over("its session at Consul is gone")
      next_query = 0
    end
    return true
  end
  if ok then notice.clear("name") end
  return ok, why, code
end

local function watch()
  local retry, second, steps = RETRY_FIRST, 0, 0
  while true do
    local ok, why, code = step()
    if code == "stopping" then return end
    if ok then
      if notice.current.consul then notice.line("consul", "Consul is available again", "info") end
      notice.clear("consul")
      retry = RETRY_FIRST
    else
      if code == "not_reached" then
        notice.set("consul", why)
      elseif not notice.current.consul then
        notice.set("consul", "Consul is not available, and nothing changes in the cluster until it is: " .. why)
      end
      next_query = 0
      local pause = retry * (0.75 + math.random() / 2)
      retry = math.min(retry * 2, RETRY_MAX)
      core.sleep(pause)
    end
    -- Bounds the steps per second, however fast Consul answers.
    local now = clock() // 1
    if now ~= second then second, steps = now, 0 end
    steps = steps + 1
    if steps > STEPS_MAX then core.sleep(RECHECK) end
  end
end

-- renew ----------------------------------------------------------------------------------------

-- The members that are connected to this leader, and itself.
local function connected_members(status)
  local connected = { [status.self.member] = true }
  for _, f in ipairs(status.followers) do connected[f.member] = f.connected or nil end
  return connected
end

-- Waits for followers at shutdown, and logs those that did not receive everything.
local function drain(seconds)
  local began = clock()
  local _, why, code = cluster.drain(seconds, true)
  if code == "not_leader" then
    return say.warn("cluster: ceased to lead before its followers had received everything: " .. why)
  end
  local status, behind = cluster.status(), {}
  local connected = connected_members(status)
  for _, f in ipairs(status.followers) do
    if f.in_set and f.lag_messages > 0 then behind[#behind + 1] = ("%s %d"):format(f.name, f.lag_messages) end
  end
  for _, m in ipairs(status.register.members) do
    if not connected[m] then behind[#behind + 1] = m:match("^[^:]*") .. " (not connected)" end
  end
  if behind[1] then
    return say.warn(("cluster: hands over, and followers did not receive all messages within cluster.drain (%g s); "
      .. "missing: %s"):format(seconds, table.concat(behind, ", ")))
  end
  say.info(("cluster: hands over: the followers have everything seconds=%.2f"):format(clock() - began))
end

local function renew()
  local c = live.config.values.cluster
  local period = math.min(c.consul.ttl, c.lease) / 3
  while true do
    local slept, problem = pcall(core.sleep, period)      -- fails at shutdown, and when memory is short
    if not slept and select(3, cluster.wait(0)) == "stopping" then break end
    if not slept then error(problem, 0) end               -- the duty begins again
    local there, why, code = member:renew()
    if code ~= "stopping" then
      if there == false and why then lose_session(why) end
      if cluster.status().role == "leader" then register.read() end
    end
  end

  -- Hands over: followers receive what the leader holds, and the keys of the session are free at once. The next leader
  -- can begin before this process has ended.
  local leads = cluster.status().role == "leader"
  if leads then drain(live.config.values.cluster.drain) end
  member:leave()
  if leads then cluster.resign("shutting down") end
end

-- Who reaches whom ------------------------------------------------------------------------------

-- How long a node waits for one that it does not reach: until Consul has noticed if that one is gone.
local function patience()
  local s = client.settings
  return math.max(STALLED_MAX, (s.check_interval + s.check_timeout) * s.check_failures)
end

-- Notes which members this node does not reach, and for a leader also which others may. A note lasts until this node
-- reaches the member, or for TRIED seconds. The other nodes read it in this node's key at Consul.
local function note_reach(status)
  local view, now = roster.seen, clock()
  local names, others = {}, {}
  if status.role == "leader" then
    local connected = connected_members(status)
    for _, node in pairs(view.nodes) do
      if connected[node.member] then not_reached[node.session] = nil end
    end
    if status.stalled >= patience() then
      local sessions
      sessions, names = views.unreached(view, connected)
      for _, session in ipairs(sessions) do not_reached[session] = now end
      others = views.better(view, status.self.name, connected)
    end
  elseif status.connected or not status.leader then
    unconnected_since = nil
    local holder = status.connected and views.holder(view)
    if holder and holder.member == status.leader.member then not_reached[view.lock.session] = nil end
  else
    unconnected_since = unconnected_since or now
    local holder = views.holder(view)
    if now - unconnected_since >= patience() and holder and holder.member == status.leader.member then
      not_reached[view.lock.session] = now
    end
  end

  local list = {}
  for session, at in pairs(not_reached) do
    if now > at + TRIED then not_reached[session] = nil else list[#list + 1] = session end
  end
  table.sort(list)
  member.unreached = list[1] and list or nil
  return names, others
end

-- Live topics wait for a member that this leader does not reach and that `copies` keeps in the synced set. A leader
-- steps aside if another member may reach more, because it has not tried yet. A member that is gone from Consul is no
-- reason: nobody reaches it.
local function step_aside(status, missing, others)
  local declined = offered and status.epoch == offered.epoch + 1 and clock() < offered.at + TRIED
  if #missing == 0 or #others == 0 or declined then return end
  offered = { epoch = status.epoch, at = clock() }
  not_before = clock() + STAND_BACK
  hand_over(("live topics need %s, which it does not reach; %s may"):format(table.concat(missing, ", "),
    table.concat(others, ", ")))
end

-- A leader whose disk is full refuses what is published, and another member may have room. It is handed over to only if
-- the members that have room are enough for every live topic.
local function make_way(status)
  full_since = status.full and (full_since or clock()) or nil
  if status.role ~= "leader" or not full_since or clock() < full_since + FULL or not roster.seen then return end
  local names = views.with_room(roster.seen, status.followers)
  if #names == 0 or #names < status.copies then return end
  full_since, not_before = nil, clock() + STAND_BACK
  hand_over(("its disk is full, and there is room on %s"):format(table.concat(names, ", ")))
end

-- The other nodes read in this node's key whether its disk is full, and what configuration it has loaded.
local function tell(status)
  local changed = status.full ~= told.full or roster.fingerprint ~= told.config
  if member.session and member.published and changed then
    told = { full = status.full, config = roster.fingerprint }
    member:publish(member:entry(status))
  end
end

-- react ----------------------------------------------------------------------------------------

-- The leader's host answers, and its port refuses connections: the process is gone, and nobody need wait until Consul
-- notices. A firewall between the two nodes has the same effect; then no other node reports it, and Consul decides.
local function free_lock(status)
  local leader, view = status.leader, roster.seen
  local holder = view and views.holder(view)
  if not holder or not leader or holder.member ~= leader.member or connected_to ~= leader.member then return end
  member.refused = view.lock.session
  if not member.session then return end
  if not views.is_gone(view, member.me) then return member:publish(member:entry(status)) end
  connected_to = nil
  notice.line("leader", "the leader's process is gone; ends its session leader=" .. leader.name)
  return client:destroy_session(view.lock.session)
end

-- The leader is not heard any more. It may be gone, or this node cut off; so a session is ended only when all other
-- nodes say the same, and Consul has found that the leader does not answer: half of the failures that Consul itself
-- asks for are enough then. Returns whether to look again soon.
local function end_silence(status)
  local leader, view = status.leader, roster.seen
  local holder = view and views.holder(view)
  local silent = status.silent and member.session and holder and leader and holder.member == leader.member
    and connected_to == leader.member
  local session = silent and view.lock.session or nil
  if session ~= member.silent then
    member.silent = session
    if member.published then member:publish(member:entry(status)) end
  end
  if not session then return false end
  if views.is_silent(view) and member:is_failing(holder) then
    notice.line("leader", "no node hears the leader, and it does not answer Consul; ends its session leader="
      .. leader.name)
    client:destroy_session(session)
  end
  return true
end

local function react()
  while true do
    local status = cluster.status()
    if roster.seen then step_aside(status, note_reach(status)) end
    tell(status)
    make_way(status)
    -- A leader that has stopped releases the lock here, because watch may be waiting for a change of it. After a
    -- rollback watch does so, once the register is flagged.
    local stopped = roster.role == "leader" and status.role ~= "leader"
    if stopped and member.session and register.verdict ~= "regressed" then release_lock() end
    roster.role = status.role
    if status.connected and status.leader then connected_to = status.leader.member end
    if status.refused then free_lock(status) end
    local silent = end_silence(status)
    if status.suspended or status.behind then register.read() end
    local pushing = register.push()
    local unconnected = status.role == "follower" and status.leader and not status.connected
    local _, _, code = cluster.wait(pushing and RANK or unconnected and REACT_UNCONNECTED or silent and REACT_SILENT
      or REACT)
    if code == "stopping" then return end
  end
end

local DUTIES = { watch = watch, renew = renew, react = react }

-- Set-up ---------------------------------------------------------------------------------------

---Uses what a (re)load has made live.
---@param world lignum.World
function M.use(world)
  live = world
  roster.fingerprint = world.fingerprint
  local settings = world.config.values.cluster.consul
  local named = #settings.address > 0
  if client and named then client.settings = settings end
  if started and named ~= (client ~= nil) then
    say.warn("cluster: adding or removing cluster.consul.address takes effect after a restart")
  end
end

---Starts to take part in the cluster, if a Consul is configured: from then on this node leads only by the register.
---@return { seconds: number, fn: function, where: string, duty: boolean }[] duties
function M.start()
  started = true
  local c = live.config.values.cluster
  if not cluster or #c.consul.address == 0 then return {} end
  client = consul.new(c.consul)
  roster.consul = client
  member = members.new(client, c.consul, cluster.status().self)
  register.use(client, member)
  roster.role = "follower"
  local list = {}
  for name, fn in pairs(DUTIES) do
    list[#list + 1] = { seconds = 1, fn = fn, where = "the cluster's duty " .. name, duty = true }
  end
  return list
end

-- The operator's commands ----------------------------------------------------------------------

local function claim_unclean(new, what)
  if not client then return nil, "no Consul is configured: this node is not part of a cluster", "bad_value" end
  local view, why, code = register.read()
  if not view then return nil, why, code end
  local holder = views.holder(view)
  if view.lock.session and view.lock.session ~= member.session then
    return nil, ("%s holds the lock; stop it first"):format(holder and holder.name or "another session"), "bad_value"
  end
  local deadline = clock() + ARRIVE
  while not member.session and clock() < deadline do core.sleep(RANK) end
  if not member.session then return nil, "this node has no session at Consul yet", "unavailable" end

  say.warn("cluster: " .. what)
  hand_over("an operator's command makes it claim again")
  local done
  done, why, code = register.claim(new and { index = view.index } or view, { unclean = true })
  if not done then return nil, why, code or "bad_value" end
  return true
end

---Makes the register this node's own, with its cluster id and itself as the only member.
function M.adopt()
  return claim_unclean(true, "cluster.adopt(): all other nodes follow what this one holds from now on")
end

---Leads without being a member of the synced set: messages that only its members have are lost.
function M.claim_unclean()
  return claim_unclean(false, "cluster.claim_unclean(): messages that only the synced set has are lost")
end

return M
