--- Parses the keys of a cluster in Consul, and ranks the nodes that may lead. Pure functions.
---
---     <key>              the lock; its value names the holder
---     <key>/synced       the synced register
---     <key>/nodes/NAME   a node that takes part, as long as its session lives
local core = require "lignum.core"

local json, limits = core.json, core.limits

local M = {}

---@class lignum.Register
---@field cluster string
---@field epoch integer
---@field version integer
---@field leader string        a member: "name:incarnation"
---@field members string[]
---@field unclean integer      the highest epoch that was claimed by a node which was not a member; 0: none
---@field lost { epoch: integer, version: integer, leader: string }?   the flag: a newer register that Consul has lost

---@class lignum.Entry
---@field member string
---@field name string
---@field http string
---@field replication string
---@field role string?
---@field position { epoch: integer, messages: integer }
---@field eligible boolean     it may claim
---@field vacancy integer      1 + the epoch of the leader that it finds gone; 0: none
---@field refused string?      session of the lock's holder, when the node was connected to it and is now refused
---@field unreached string[]?  sessions of members that it could not reach when it tried last
---@field full boolean?        its disk is full
---@field config string?       the fingerprint of its configuration
---@field session string?

---@class lignum.View
---@field lock { session: string?, value: string, holder: lignum.Entry? }
---@field register lignum.Register?
---@field index integer        ModifyIndex of the register; 0: there is none
---@field problem string?      why the value of its key is not a register
---@field nodes table<string, lignum.Entry>

local function whole(value)
  local n = math.type(value) and math.tointeger(value)
  return n and n >= 0 and n <= limits.json_integer_max and n or nil
end

local HEX <const> = ("[0-9a-f]"):rep(32)

local function is_member(text)
  local name = type(text) == "string" and text:match("^([%w._-]+):" .. HEX .. "$")
  return name ~= nil and name ~= false and #name <= limits.node_name_max
end

local function members_of(list)
  if type(list) ~= "table" or #list == 0 or #list > limits.members_max then return nil end
  local members, seen = {}, {}
  for i, member in ipairs(list) do
    if not is_member(member) or seen[member] then return nil end
    members[i], seen[member] = member, true
  end
  return members
end

-- The flag of a register: nil when it has none, false when the value is not a valid flag.
local function lost_of(t)
  if t == nil then return nil end
  if type(t) ~= "table" then return false end
  local lost = {
    epoch = whole(t.epoch), version = whole(t.version),
    leader = type(t.leader) == "string" and t.leader:match("^" .. HEX .. "$") or nil,
  }
  return lost.epoch and lost.epoch > 0 and lost.version and lost.leader and lost or false
end

---Parses a register; nil when the text is not one.
---@param text string
---@return lignum.Register?
function M.register(text)
  local t = json.decode(text)
  if type(t) ~= "table" then return nil end
  local r = {
    cluster = type(t.cluster) == "string" and t.cluster:match("^" .. HEX .. "$") or nil, epoch = whole(t.epoch),
    version = whole(t.version), leader = is_member(t.leader) and t.leader or nil, members = members_of(t.members),
    unclean = t.unclean == nil and 0 or whole(t.unclean), lost = lost_of(t.lost),
  }
  if not (r.cluster and r.epoch and r.version and r.leader and r.members) then return nil end
  if not r.unclean or r.unclean > r.epoch or r.lost == false then return nil end
  return r
end

---The text of a register. Equal registers have equal texts.
---@param r lignum.Register
---@return string
function M.register_text(r)
  local members = {}
  for i, member in ipairs(r.members) do members[i] = '"' .. member .. '"' end
  local text = ('{"cluster":"%s","epoch":%d,"version":%d,"leader":"%s","members":[%s]'):format(r.cluster, r.epoch,
    r.version, r.leader, table.concat(members, ","))
  if r.unclean > 0 then text = ('%s,"unclean":%d'):format(text, r.unclean) end
  local lost = r.lost
  if not lost then return text .. "}" end
  return ('%s,"lost":{"epoch":%d,"version":%d,"leader":"%s"}}'):format(text, lost.epoch, lost.version, lost.leader)
end

---@param a lignum.Register?
---@param b lignum.Register?
---@return boolean
function M.same_register(a, b)
  if not a or not b then return a == b end
  return M.register_text(a) == M.register_text(b)
end

---Whether `a` was written before `b`. No register is older than any register.
---@param a lignum.Register?
---@param b lignum.Register?
---@return boolean
function M.is_older(a, b)
  if not a or not b then return b ~= nil end
  if a.cluster ~= b.cluster then return false end
  if a.epoch ~= b.epoch then return a.epoch < b.epoch end
  return a.version < b.version
end

local function sessions_of(list)
  if type(list) ~= "table" or #list > limits.members_max then return nil end
  for _, session in ipairs(list) do
    if type(session) ~= "string" or not session:find("^[%x-]+$") then return nil end
  end
  return #list > 0 and list or nil
end

local function is_address(text)
  return type(text) == "string" and #text <= limits.node_address_max and text:find("^[%w._:%[%]-]+:%d+$") ~= nil
end

-- Where a node takes HTTP; "https://" stands before it where that is by TLS.
local function is_http(text)
  return type(text) == "string" and #text <= limits.node_address_max and is_address((text:gsub("^https://", "")))
end

---Parses the value of a node's key; nil when it is not valid.
---@param text string
---@return lignum.Entry?
function M.entry(text)
  local t = json.decode(text)
  if type(t) ~= "table" or not is_member(t.member) then return nil end
  if not is_http(t.http) or not is_address(t.replication) then return nil end
  local name = t.member:match("^(.*):")
  if t.name ~= name then return nil end
  local p = type(t.position) == "table" and t.position or {}
  return {
    member = t.member, name = name, http = t.http, replication = t.replication,
    role = type(t.role) == "string" and t.role:match("^%a+$") or nil,
    position = { epoch = whole(p.epoch) or 0, messages = whole(p.messages) or 0 },
    eligible = t.eligible == true, vacancy = whole(t.vacancy) or 0,
    refused = type(t.refused) == "string" and t.refused:match("^[%x-]+$") or nil,
    unreached = sessions_of(t.unreached), full = t.full == true or nil,
    config = type(t.config) == "string" and t.config:match("^" .. ("%x"):rep(8) .. "$") or nil,
    silent = type(t.silent) == "string" and t.silent:match("^[%x-]+$") or nil,
  }
end

---The value of a node's key. Equal entries have equal texts.
---@param e lignum.Entry
---@return string
function M.entry_text(e)
  local text = ('{"member":"%s","name":"%s","http":%s,"replication":%s'):format(e.member, e.name, json.encode(e.http),
    json.encode(e.replication))
  if not e.role then return text .. "}" end
  local more = e.refused and (',"refused":"%s"'):format(e.refused) or ""
  if e.unreached then more = ('%s,"unreached":["%s"]'):format(more, table.concat(e.unreached, '","')) end
  if e.full then more = more .. ',"full":true' end
  if e.config then more = ('%s,"config":"%s"'):format(more, e.config) end
  if e.silent then more = ('%s,"silent":"%s"'):format(more, e.silent) end
  return ('%s,"role":"%s","position":{"epoch":%d,"messages":%d},"eligible":%s,"vacancy":%d%s}'):format(text, e.role,
    e.position.epoch, e.position.messages, e.eligible, e.vacancy, more)
end

---Parses all keys of a cluster.
---@param keys lignum.ConsulKey[]
---@param key string   the lock
---@return lignum.View
function M.of(keys, key)
  local view = { lock = { value = "" }, index = 0, nodes = {} }
  local inside, nodes = key .. "/synced", key .. "/nodes/"
  for _, k in ipairs(keys) do
    if k.key == key then
      view.lock = { session = k.session, value = k.value, holder = M.entry(k.value) }
    elseif k.key == inside then
      view.index, view.register = k.index, M.register(k.value)
      if not view.register then view.problem = ("the value of %s is not a register"):format(inside) end
    elseif k.key:sub(1, #nodes) == nodes and k.session then
      local entry = M.entry(k.value)
      if entry and nodes .. entry.name == k.key then
        entry.session = k.session
        view.nodes[entry.name] = entry
      end
    end
  end
  return view
end

---The node that holds the lock: the one with the lock's session, or else the one that the lock names.
---@param view lignum.View
---@return lignum.Entry?
function M.holder(view)
  local lock = view.lock
  if not lock.session then return nil end
  for _, entry in pairs(view.nodes) do
    if entry.session == lock.session then return entry end
  end
  return lock.holder
end

local function host_of(replication)
  return replication:match("^(.*):%d+$")
end

---Whether the process that holds the lock is gone, when its port refuses a connection of this node. That proves it on
---the same host, without a network in between; on another host a second node has to report the same.
---@param view lignum.View
---@param me { name: string, replication: string }
---@return boolean
function M.is_gone(view, me)
  local holder = M.holder(view)
  if not holder then return false end
  if host_of(holder.replication) == host_of(me.replication) then return true end
  for name, node in pairs(view.nodes) do
    if name ~= me.name and node.member ~= holder.member and node.refused == view.lock.session then return true end
  end
  return false
end

---Whether no registered node hears the holder of the lock.
---@param view lignum.View
---@return boolean
function M.is_silent(view)
  local holder, count = M.holder(view), 0
  for _, node in pairs(view.nodes) do
    if holder and node.member ~= holder.member then
      if node.silent ~= view.lock.session then return false end
      count = count + 1
    end
  end
  return count > 0
end

-- The members of the synced set, and the sessions at Consul. Nodes without a session are gone.
local function who_is_there(view)
  local in_set, sessions = {}, {}
  for _, m in ipairs(view.register and view.register.members or {}) do in_set[m] = true end
  for _, node in pairs(view.nodes) do
    if node.session then sessions[node.session] = true end
  end
  return in_set, sessions
end

local function count_there(list, sessions)
  local count = 0
  for _, session in ipairs(list or {}) do
    if sessions[session] then count = count + 1 end
  end
  return count
end

---The sessions of the members of the synced set that are registered at Consul and not among those connected.
---@param view lignum.View
---@param connected table<string, true>   members, this node among them
---@return string[] sessions
---@return string[] names
function M.unreached(view, connected)
  local in_set, sessions, names = who_is_there(view), {}, {}
  for name, node in pairs(view.nodes) do
    if in_set[node.member] and not connected[node.member] and node.session then
      sessions[#sessions + 1], names[#names + 1] = node.session, name
    end
  end
  table.sort(names)
  return sessions, names
end

---The members that may reach more members than this leader does, because they have not noted yet that they do not. A
---member that is not connected to this leader does not reach it, whether it has noted that or not.
---@param view lignum.View
---@param me string              this node's name
---@param connected table<string, true>
---@return string[] names
function M.better(view, me, connected)
  local in_set, sessions = who_is_there(view)
  local mine = view.nodes[me] and view.nodes[me].session
  local names, unreached = {}, 0
  for name, node in pairs(view.nodes) do        -- those that have left the set as well: another leader may ask them in
    if name ~= me and node.session and not connected[node.member] then unreached = unreached + 1 end
  end
  for name, node in pairs(view.nodes) do
    if name ~= me and in_set[node.member] and node.session then
      local found = {}
      for _, session in ipairs(node.unreached or {}) do found[session] = sessions[session] end
      if mine and not connected[node.member] then found[mine] = true end
      local count = 0
      for _ in pairs(found) do count = count + 1 end
      if count < unreached then names[#names + 1] = name end
    end
  end
  table.sort(names)
  return names
end

---The connected members of the synced set whose disks have room.
---@param view lignum.View
---@param followers lignum.Follower[]
---@return string[] names
function M.with_room(view, followers)
  local names = {}
  for _, f in ipairs(followers) do
    local entry = view.nodes[f.name]
    if f.in_set and f.connected and entry and entry.member == f.member and not entry.full then
      names[#names + 1] = f.name
    end
  end
  table.sort(names)
  return names
end

-- A node that reaches more members comes first: under another leader, not all of them could acknowledge.
local function is_ahead(a, b, sessions)
  local less, more = count_there(a.unreached, sessions), count_there(b.unreached, sessions)
  if less ~= more then return less < more end
  if a.position.epoch ~= b.position.epoch then return a.position.epoch > b.position.epoch end
  if a.position.messages ~= b.position.messages then return a.position.messages > b.position.messages end
  if a.full ~= b.full then return not a.full end
  return a.name < b.name
end

---The number of nodes that should try to lead before this node, and whether all of them have published a position.
---@param view lignum.View
---@param me lignum.Entry   as published for this vacancy
---@return integer rank
---@return boolean all_known
function M.rank(view, me)
  local in_set, sessions = who_is_there(view)
  local rank, all_known = 0, true
  for name, other in pairs(view.nodes) do
    if name ~= me.name and (in_set[other.member] or not view.register) then
      if other.vacancy ~= me.vacancy then
        all_known = false
      elseif other.eligible and is_ahead(other, me, sessions) then
        rank = rank + 1
      end
    end
  end
  return rank, all_known
end

return M
