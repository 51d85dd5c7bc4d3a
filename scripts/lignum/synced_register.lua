--- The synced register at Consul: reads it, tells the core what it says, and writes what the core wants it to say.
---
--- The core alone decides what a register means for this node (cluster.see) and what may be written (cluster.claim,
--- cluster.change). This module is loaded once, like election.lua, which uses it.
local core = require "lignum.core"
local notice = require "lignum.notice"
local roster = require "lignum.roster"
local views = require "lignum.view"

local cluster = core.cluster

local M = {
  ---What the core said about the register that it saw last.
  verdict = "empty",   ---@type "empty"|"ours"|"other"|"foreign"|"regressed"|"out_of_range"
}

local client           ---@type lignum.Consul
local member           ---@type lignum.Member
local current          ---@type lignum.Register?   the register that the core saw last
local index = 0        -- of Consul's last answer: the next blocking query waits for a higher one

---@param consul lignum.Consul
---@param self lignum.Member
function M.use(consul, self)
  client, member = consul, self
end

-- Tells the core what the register says. `asked` is cluster.asked() from before the request was sent: by it the core
-- ignores an answer that a later one has overtaken.
local function observe(register, at, asked)
  local verdict = cluster.see(register, at, asked)
  if verdict == "stale" then return end
  M.verdict, current = verdict, register
  if verdict == "regressed" then
    notice.set("verdict", "the synced register at Consul is older than one that nodes have seen, or has another "
      .. "history: Consul was rolled back (set_regressed). Nobody leads by it. If the newer one is lost for good, run "
      .. "cluster.adopt() on the node that shall lead", "error")
  elseif verdict == "out_of_range" then
    notice.set("verdict", ("the synced register at Consul has an epoch or version that no cluster reaches (epoch=%d "
      .. "version=%d): nobody leads by it. cluster.adopt() on the node that shall lead writes another one"):format(
      register.epoch, register.version), "error")
  elseif verdict == "foreign" then
    notice.set("verdict", ("the synced register at Consul belongs to cluster %s, and this node holds messages of "
      .. "cluster %s: it does not take part. cluster.adopt() on this node makes the register its own"):format(
      register.cluster, cluster.status().cluster), "error")
  else
    notice.clear("verdict")
  end
end

local function take(snapshot, asked)
  local view = views.of(snapshot.keys, member.key)
  roster.seen = view
  if view.problem then
    notice.set("register", view.problem .. "; cluster.adopt() on the node that shall lead writes a new one", "error")
  else
    notice.clear("register")
    observe(view.register, view.index, asked)
  end
  return view
end

---Reads all keys of the cluster and tells the core.
---@return lignum.View? view
---@return string? why
---@return string? code
function M.read()
  local asked = cluster.asked()
  local snapshot, why, code = client:read(member.key, { recurse = true })
  if not snapshot then return nil, why, code end
  return take(snapshot, asked)
end

---Does the same once something has changed since the last call, or after `wait` seconds.
---@param wait number   0: at once
---@return lignum.View? view
---@return string? why
---@return string? code
function M.follow(wait)
  local asked, since = cluster.asked(), wait > 0 and index > 0 and index or nil
  local snapshot, why, code = client:read(member.key, { recurse = true, wait = wait, index = since })
  if not snapshot then return nil, why, code end
  index = snapshot.index
  -- A blocking query returns old data when its server has lost touch with the others. Data that looks older than what
  -- is known is confirmed by a consistent read before the core is told of it.
  local view = views.of(snapshot.keys, member.key)
  if since and views.is_older(view.register, current) then return M.read() end
  view = take(snapshot, asked)
  if cluster.status().behind then return M.read() end
  return view
end

---Writes what the core wants the register to say: a leader's change of the synced set, or the flag that Consul was
---rolled back. Each call writes it again until the register has been read with that value.
---@return boolean pushing   whether there was something to write
function M.push()
  local wanted, at = cluster.change()
  if not wanted or not member.session then return false end
  local asked, writes = cluster.asked(), {
    { verb = "cas", key = member.key .. "/synced", value = views.register_text(wanted), index = at },
  }
  if not wanted.lost then   -- a node that sets the flag need not hold the lock
    table.insert(writes, 1, { verb = "check-session", key = member.key, session = member.session })
  end
  local indexes = client:txn(writes)
  if not indexes then
    M.read()
    return true
  end
  if wanted.lost then
    notice.line("flag", ("has flagged the synced register at Consul: a newer one is lost epoch=%d version=%d"):format(
      wanted.lost.epoch, wanted.lost.version), "error")
  end
  observe(wanted, indexes[#indexes], asked)
  return true
end

---Claims the register with this node as the leader, and leads once Consul has confirmed that.
---@param view { register: lignum.Register?, index: integer }   what the claim replaces
---@param options? { unclean: boolean }
---@return boolean? leads   false: refused; nil: the outcome is unknown
---@return string? why
---@return string? code
function M.claim(view, options)
  local claim, why, code = cluster.claim(view.register, options)
  if not claim then return false, why, code end
  local asked = cluster.asked()
  local indexes
  indexes, why, code = client:txn {      -- both or neither
    { verb = "lock", key = member.key, value = member:lock_value(), session = member.session },
    { verb = "cas", key = member.key .. "/synced", value = views.register_text(claim), index = view.index },
  }
  local at = indexes and indexes[2]
  if indexes == nil and code ~= "stopping" then
    -- A lost answer proves nothing: the register shows whether the claim was written.
    local now
    now, why, code = M.read()
    if not now then return nil, why, code end
    if not views.same_register(now.register, claim) then return false, "the register says otherwise" end
    at = now.index
  elseif not indexes then
    return indexes, why, code
  end

  local ok
  ok, why, code = cluster.lead(claim, at)
  if not ok then return nil, why, code end
  observe(claim, at, asked)
  return true
end

return M
