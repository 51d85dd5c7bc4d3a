--- Who leads: the long-running duties that carry messages between Consul and the core.
---
--- The core alone decides what may be written to the register, and when this node leads; here it is
--- decided when to try, and everything that is said to Consul is said here. Three duties run side by
--- side:
---
---     watch    follows lock, register and nodes in one blocking query, and acts on what it sees
---     keep     renews the session; confirms a leader's claim; says good-bye at the end
---     heed     acts on what the core has noticed: a leader that is gone, a change of the synced set
---
--- This module is loaded once and outlives reloads (modules.lua), so a new lignum.lua does not
--- disturb the cluster; the hooks and the addresses of Consul are those of the live one.
local consul = require "lignum.consul"
local core = require "lignum.core"
local members = require "lignum.member"
local roster = require "lignum.roster"
local views = require "lignum.view"

local cluster, say, clock = core.cluster, core.say, core.time.clock

local M = {}

local LOOK <const> = 5             -- seconds that a blocking query waits: how long a dead connection goes unnoticed
local LOOK_AGAIN <const> = 1       -- where the lock is free and this node may not have it, or Consul is strange
local GATHER <const> = 0.15        -- for the others to say where they stand
local RANK <const> = 0.2           -- between one node's turn and the next one's
local RETRY_FIRST <const>, RETRY_MOST <const> = 0.1, 2
local HEED <const> = 1
local DRAIN <const> = 0.15         -- for followers to take what a leader that stops has for them
local STALLED_MOST <const> = 3     -- that a leader waits for a member which `copies` keeps in the set
local STAND_BACK <const> = 5       -- before it tries again to lead, so that another can
local ARRIVES <const> = 15         -- times RANK, that an operator's word waits for this node to be registered
local REFUSED <const> = 0.05       -- between two looks at whether a leader that went away is gone
local STEPS_MOST <const> = 40      -- of the watch in a second

local live                         ---@type lignum.World
local client                       ---@type lignum.Consul
local member                       ---@type lignum.Member
local register                     ---@type lignum.Register?   the last that the core was told of
local verdict = "empty"            -- and what it said
local index, next_look = 0, LOOK   -- where the next blocking query goes on from, and for how long it waits
local vacancy = nil                -- { since =, epoch = } while the lock is free
local not_before = 0               -- no claim before then
local connected_to                 -- the leader that we have been connected to
local retry = RETRY_FIRST
local begun, paced = false, { second = 0, steps = 0 }
local said = {}

-- What is said ---------------------------------------------------------------------------------

-- A state is said when it begins, not for as long as it lasts.
local function say_once(about, text, level)
  if said[about] == text then return end
  said[about] = text
  say[level or "warn"]("cluster: " .. text)
end

local function forget(about)
  said[about] = nil
end

local function trouble(why)
  if not said.consul then
    say_once("consul", "Consul cannot be used, which leaves everything as it is until it can: " .. why)
  end
  local pause = retry * (0.75 + math.random() / 2)
  retry = math.min(retry * 2, RETRY_MOST)
  index = 0
  core.sleep(pause)
end

local function all_well()
  if said.consul then say.info("cluster: Consul can be used again") end
  forget("consul")
  retry = RETRY_FIRST
end

-- What is known --------------------------------------------------------------------------------

---Whether lignum.lua names a Consul, and the core can make use of it.
---@return boolean
function M.configured()
  return cluster ~= nil and live ~= nil and #live.config.values.cluster.consul.address > 0
end

-- Tells the core what the register says. `asked`: cluster.asked() of before the question, by which the core knows an
-- answer that another one has overtaken.
local function observe(r, at, asked)
  local now = cluster.see(r, at, asked)
  if now == "stale" then return end
  verdict, register = now, r
  if verdict == "regressed" then
    say_once("verdict", "the register at Consul is older than what nodes have seen, or goes another way: Consul was "
      .. "rolled back (set_regressed). Nobody leads by it. When it is certain that nothing newer comes back: "
      .. "cluster.adopt() on the node that shall lead", "error")
  elseif verdict == "foreign" then
    local own = cluster.status().cluster
    say_once("verdict", ("the register at Consul belongs to cluster %s, and this node holds messages of cluster %s: it "
      .. "takes no part. cluster.adopt() on this node makes the register its own"):format(r.cluster, own), "error")
  else
    forget("verdict")
  end
end

-- Takes in what was read.
local function take(snapshot, asked)
  local view = views.of(snapshot.keys, member.key)
  roster.seen = view
  if view.problem then
    say_once("register", view.problem .. "; cluster.adopt() on the node that shall lead writes it anew", "error")
  else
    forget("register")
    observe(view.register, view.index, asked)
  end
  return view
end

-- Reads everything, fresh, and tells the core.
local function look()
  local asked = cluster.asked()
  local snapshot, why, code = client:read(member.key, { recurse = true })
  if not snapshot then return nil, why, code end
  return take(snapshot, asked)
end

-- The same, once something has changed. A blocking query can return the past, where the server that it waited on has
-- lost its place: then it is asked again before that is believed.
local function follow_keys()
  local asked, wait = cluster.asked(), next_look
  next_look = LOOK
  local o = { recurse = true, wait = wait, index = wait > 0 and index > 0 and index or nil }
  local snapshot, why, code = client:read(member.key, o)
  if not snapshot then return nil, why, code end
  index = snapshot.index
  local view = views.of(snapshot.keys, member.key)
  if o.index and views.is_older(view.register, register) then return look() end
  view, why, code = take(snapshot, asked)
  if cluster.status().behind then return look() end
  return view, why, code
end

-- Writes what the core wants the register to say: a leader's change of the synced set, or that Consul was rolled back.
-- The same again until the register is seen to say it.
local function push()
  local wanted, at = cluster.change()
  if not wanted or not member.session then return false end
  local asked, writes = cluster.asked(), {
    { verb = "cas", key = member.key .. "/synced", value = views.register_text(wanted), index = at },
  }
  if not wanted.lost then   -- who marks the register need not hold the lock
    table.insert(writes, 1, { verb = "check-session", key = member.key, session = member.session })
  end
  local indexes = client:txn(writes)
  if not indexes then
    look()
    return true
  end
  if wanted.lost then
    say.error(("cluster: has marked the register at Consul: epoch=%d version=%d were there, and are lost"):format(
      wanted.lost.epoch, wanted.lost.version))
  end
  observe(wanted, indexes[#indexes], asked)
  return true
end

-- Leading --------------------------------------------------------------------------------------

local function resign(why)
  if cluster.status().role ~= "leader" then return end
  cluster.resign(why)
end

-- A lost reply proves nothing: only the register itself does.
local function resolve(claim)
  local view, why, code = look()
  if not view then return nil, why, code end
  if views.same_register(view.register, claim) then return { view.index, view.index } end
  return false, "the register says otherwise"
end

-- Writes a claim: lock and register in one step, or neither.
local function write_claim(claim, at)
  local indexes, why, code = client:txn {
    { verb = "lock", key = member.key, value = member:lock_value(), session = member.session },
    { verb = "cas", key = member.key .. "/synced", value = views.register_text(claim), index = at },
  }
  if indexes == nil and code ~= "stopping" then return resolve(claim) end
  return indexes, why, code
end

local function lead(claim, at, asked)
  local ok, why, code = cluster.lead(claim, at)
  if not ok then return nil, why, code end
  observe(claim, at, asked)
  return true
end

-- Claims the register that stands there, and leads when that was taken.
local function claim(view, options)
  local wanted, why, code = cluster.claim(view.register, options)
  if not wanted then return false, why, code end
  local asked = cluster.asked()
  local indexes
  indexes, why, code = write_claim(wanted, view.index)
  if not indexes then return indexes, why, code end
  return lead(wanted, indexes[2], asked)
end

-- The operator's word on it: only `true` is a yes.
local function may_lead()
  local hook, place = live.hooks.get("may_lead")
  if not hook then return true end
  local ok, allowed = pcall(live.hooks.call, "may_lead", roster.state())
  if ok and allowed == true then return true end
  return false, ok and ("may_lead at %s says no"):format(place) or "may_lead failed: " .. tostring(allowed)
end

-- Whether this node may try, and why not.
local function eligible(status)
  if verdict == "foreign" or verdict == "regressed" then return false, "the register is not of this history" end
  if clock() < not_before then return false, "it has just given the lock away" end
  local may = status.eligible
  if verdict == "empty" then may = status.empty end
  if not may then return false, status.why or "this node holds messages: see cluster.adopt()" end
  return may_lead()
end

-- Says where this node stands. True when the others could already see that.
local function announce(status, may)
  local before = member.published
  local ok, why, code = member:publish(member:entry(status, { eligible = may, vacancy = vacancy.epoch }))
  if not ok then return ok, why, code end
  return true, nil, nil, member.published == before
end

-- The lock is free: all say where they stand, the one that is furthest tries first.
local function contend(view, status)
  if not status.connected then cluster.unfollow() end
  local now, epoch = clock(), 1 + (view.register and view.register.epoch or 0)
  if not vacancy or vacancy.epoch ~= epoch then vacancy = { since = now, epoch = epoch } end
  local may, problem = eligible(status)
  if may then
    forget("eligible")
  else
    say_once("eligible", "there is no leader, and this node does not try: " .. problem)
  end
  local ok, why, code, was_known = announce(status, may)
  next_look = was_known and LOOK_AGAIN or 0
  if not ok or not may or not was_known then return ok, why, code end

  local rank, all_known = views.rank(view, member:entry(status, { eligible = true, vacancy = epoch }))
  local wait = vacancy.since + (all_known and 0 or GATHER) + rank * RANK - now
  next_look = math.max(wait, 0)
  if wait > 0 then return true end

  ok, why, code = claim(view)
  if ok == false then
    say.debug("cluster: did not get to lead: " .. why)
    next_look = RANK
  end
  return ok ~= nil, why, code
end

-- This node leads, by the register.
local function hold(view)
  local lock = view.lock
  if lock.session == member.session and lock.value == member:lock_value() then
    return member:publish(member:entry(cluster.status()))
  end
  if lock.session and lock.session ~= member.session then
    resign("another session holds the lock")
    return true
  end
  say.warn("cluster: the lock was deleted or overwritten; takes it again")
  local done, why, code = client:write(member.key, member:lock_value(), { session = member.session })
  if done == nil then return nil, why, code end
  if not done then resign("the lock is lost: " .. why) end
  next_look = 0
  return true
end

-- This node has the lock and does not lead: it has stopped by itself, or its claim was refused.
local function let_go()
  not_before = math.max(not_before, clock() + LOOK_AGAIN)
  local done, why, code = client:write(member.key, "", { release = member.session })
  if done == nil then return nil, why, code end
  next_look = 0
  return true
end

-- Following ------------------------------------------------------------------------------------

local function follow(view, status)
  local holder, r = views.holder(view), view.register
  if not holder then
    say_once("holder", "the lock is held by something that is not a node of Lignum")
  else
    forget("holder")
  end
  if verdict ~= "other" or not r then
    cluster.unfollow()
  elseif holder and holder.member == r.leader then
    cluster.follow { member = holder.member, http = holder.http, replication = holder.replication, epoch = r.epoch }
  elseif status.leader and status.leader.member ~= r.leader then
    cluster.unfollow()
  end
  return member:publish(member:entry(status))
end

-- The duties -----------------------------------------------------------------------------------

local function lose_session(why)
  member.session = nil
  resign(why)
end

local function name_taken(why)
  say_once("name", ("another node takes part under the name %s: this one does not until that is gone (%s)"):format(
    member.me.name, why), "error")
  next_look = LOOK_AGAIN
end

-- Another node under this node's name, or a session that is gone.
local function not_published(why)
  if member.session then
    name_taken(why)
  else
    resign("its session at Consul is gone")
    next_look = 0
  end
  return true
end

local function act(view)
  local status = cluster.status()
  if verdict == "regressed" and push() then   -- before the lock is free for who does not know
    next_look = RANK
    return true
  end
  if view.lock.session then vacancy = nil end
  if status.role == "leader" then return hold(view) end
  if not view.lock.session then return contend(view, status) end
  if view.lock.session == member.session then return let_go() end
  return follow(view, status)
end

-- What this session should hold and does not is a sign that it is gone: Consul is asked.
local function check_session(view)
  local mine = view.nodes[member.me.name]
  if not member.published or mine and mine.session == member.session then return true end
  local there, why, code = member:renew()
  if there == nil then return nil, why, code end
  if not there then
    lose_session("its session at Consul is gone")
    next_look = 0
  end
  member.published = nil
  return true
end

local function step()
  local ok, why, code = member:arrive()
  if ok == false then
    name_taken(why)
    core.sleep(LOOK_AGAIN)
  end
  if not ok then return ok ~= nil, why, code end
  local view
  view, why, code = follow_keys()
  if not view then return nil, why, code end
  ok, why, code = check_session(view)
  if not ok or not member.session or view.problem then return ok, why, code end
  ok, why, code = act(view)
  if ok == false then return not_published(why) end
  if ok then forget("name") end
  return ok, why, code
end

-- However fast Consul answers, or whatever stands in its place.
local function pace()
  local second = clock() // 1
  if second ~= paced.second then paced.second, paced.steps = second, 0 end
  paced.steps = paced.steps + 1
  if paced.steps > STEPS_MOST then core.sleep(LOOK_AGAIN) end
end

local function watch()
  while true do
    local ok, why, code = step()
    if code == "stopping" then return end
    if ok then all_well() else trouble(why) end
    pace()
  end
end

-- Hands over: what the session holds is free at once, and the next leader has begun before this one has gone.
local function farewell()
  local leads = cluster.status().role == "leader"
  if leads then cluster.drain(DRAIN) end
  member:leave()
  if leads then cluster.resign("shutting down") end
end

local function keep_once()
  local there, why, code = member:renew()
  if code == "stopping" then return end
  if there == false and why then lose_session(why) end
  if cluster.status().role == "leader" then look() end
end

local function keep()
  local c = live.config.values.cluster
  local period = math.min(c.consul.ttl, c.lease) / 3
  while pcall(core.sleep, period) do keep_once() end
  farewell()
end

-- The leader's host is there and its process is not: nobody need wait for Consul to notice. A firewall between the two
-- can look like that: then no other node says so too, and Consul decides.
local function free_lock(status)
  local leader, view = status.leader, roster.seen
  local holder = view and views.holder(view)
  if not holder or not leader or holder.member ~= leader.member or connected_to ~= leader.member then return end
  member.refused = view.lock.session
  if not member.session then return end
  if not views.is_gone(view, member.me) then return member:publish(member:entry(status)) end
  connected_to = nil
  say.warn("cluster: the leader's process is gone, its session is ended leader=" .. leader.name)
  return client:destroy_session(view.lock.session)
end

-- Live topics wait for a member that this leader does not reach and cannot leave out, while that member (or another
-- one) is there for Consul: perhaps it reaches more nodes than this one does.
local function make_room(status)
  if status.role ~= "leader" or status.stalled < STALLED_MOST or not roster.seen then return end
  for name, node in pairs(roster.seen.nodes) do
    for _, other in ipairs(status.register.members) do
      if name ~= status.self.name and node.member == other then
        not_before = clock() + STAND_BACK
        return resign("it cannot reach the members that live topics need, and they are there")
      end
    end
  end
end

-- The watch may wait for long for news of a lock that only this node can free. (A rollback is marked before.)
local function let_go_soon(status)
  local stopped = roster.role == "leader" and status.role ~= "leader"
  if stopped and member.session and not status.behind and verdict ~= "regressed" then let_go() end
end

local function heed()
  while true do
    local status = cluster.status()
    make_room(status)
    let_go_soon(status)
    roster.role = status.role
    if status.connected and status.leader then connected_to = status.leader.member end
    if status.refused then free_lock(status) end
    if status.suspended or status.behind then look() end
    local asking = push()
    local lonely = status.role == "follower" and status.leader and not status.connected
    local _, _, code = cluster.wait(asking and RANK or lonely and REFUSED or HEED)
    if code == "stopping" then return end
  end
end

local DUTIES = { watch = watch, keep = keep, heed = heed }

-- Set-up ---------------------------------------------------------------------------------------

---Takes what a (re)load has made live.
---@param world lignum.World
function M.use(world)
  live = world
  local settings = world.config.values.cluster.consul
  local named = #settings.address > 0
  if client and named then client.settings = settings end
  if begun and named ~= (client ~= nil) then
    say.warn("cluster: consul.address comes and goes with a restart only")
  end
end

---Begins to take part, where a Consul is configured: from then on this node leads only by the register.
---@return { seconds: number, fn: function, where: string, duty: boolean }[] duties
function M.start()
  begun = true
  if not M.configured() then return {} end
  local c = live.config.values.cluster
  client = consul.new(c.consul)
  roster.consul = client
  member = members.new(client, c.consul, cluster.status().self)
  roster.role = "follower"
  local list = {}
  for name, fn in pairs(DUTIES) do
    list[#list + 1] = { seconds = 1, fn = fn, where = "the cluster's duty to " .. name, duty = true }
  end
  return list
end

-- For the operator -----------------------------------------------------------------------------

local function one_shot(options, what)
  if not client then return nil, "no Consul is configured: this node is one of its own", "bad_value" end
  local view, why, code = look()
  if not view then return nil, why, code end
  local holder = views.holder(view)
  if view.lock.session and view.lock.session ~= member.session then
    return nil, ("%s holds the lock; stop it first"):format(holder and holder.name or "another session"), "bad_value"
  end
  for _ = 1, ARRIVES do
    if member.session then break end
    core.sleep(RANK)
  end
  if not member.session then return nil, "this node has no session at Consul yet", "unavailable" end
  say.warn("cluster: the operator asks for " .. what)
  resign("the operator wants it to lead by another claim")
  local done
  done, why, code = claim(options.anew and { register = nil, index = view.index } or view, { unclean = true })
  if not done then return nil, why, code or "bad_value" end
  return true
end

---Makes the register this node's own, with its cluster id and itself as the only member.
function M.adopt()
  return one_shot({ anew = true }, "the register to be this cluster's: all other nodes follow what this one holds")
end

---Leads without being a member of the synced set: what only its members have is lost.
function M.claim_unclean()
  return one_shot({}, "an unclean claim: messages that only the synced set has, and this node has not, are lost")
end

return M
