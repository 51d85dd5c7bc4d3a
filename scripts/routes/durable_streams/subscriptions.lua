--- Durable Streams: the subscriptions, as the leader keeps them (doc/durable-streams.md, "Subscriptions"). What happens
--- to them is in wakes.lua.
---
--- They are records in the internal topic _streams (doc/format.md), and in memory where this node leads: read from the
--- topic when it begins to lead, and after each reload. An append says where it expects the end of the topic. So when
--- a task of another configuration, or another leader, has come first, it fails; what is in memory is then forgotten,
--- and the next task reads the topic again.
---
--- Retention keeps the last KEPT messages of the topic, so the whole state is written again after half as many.
local core = require "lignum.core"
local protocol = require "routes.durable_streams.protocol"
local state = require "routes.durable_streams.state"

local crypto, json = core.crypto, core.json

local M = {}

M.COUNT_MAX = 1000                       -- subscriptions
M.LINKS_MAX = 10000                      -- streams of one subscription
local ALL_LINKS_MAX <const> = 50000
local KEPT <const> = 200 * 1000
local PIECE <const> = 1000               -- messages read or written between two waits
local PATIENCE <const> = 10              -- seconds in which what is on its way has to be acknowledged
local MATCHES_KNOWN <const> = 20000      -- paths whose subscriptions are remembered

---@class lignum.StreamLink       a stream of a subscription
---@field acked string            the offset up to which the consumer is done; "-1": nothing of it
---@field glob boolean?           by the pattern
---@field explicit boolean?       by name
---@field id string?              of the stream's topic when it was looked at last

---@class lignum.StreamSubscription
---@field id string
---@field config table            as it was asked for
---@field created number
---@field base string             URL of the node, as its creator sees it
---@field generation integer      of the last wake
---@field wake string?            id of the wake that is out; see wakes.lua for the states
---@field holder string?          the worker that has claimed it
---@field links table<string, lignum.StreamLink>    [path]
---@field count integer           of links
---@field pattern string?         the pattern of its config, as one of Lua
--- Only in this leader's memory:
---@field pending table<string, true>   streams with messages that are not acknowledged
---@field changed table<string, true>   links that are not written yet
---@field deadline number?        when the lease ends
---@field sent boolean?           the consumer has been told of the wake
---@field failures integer        of deliveries, since the last that succeeded
---@field retry number            when the next delivery may begin
---@field busy boolean?           a task delivers its wake

---@class lignum.StreamSubscriptions
---@field led integer             the epoch in which this node leads
---@field at integer              where the topic ends
---@field all table<string, lignum.StreamSubscription>
---@field count integer
---@field links integer
---@field key table?              { jwk =, key =, kid =, secret = }
---@field logged integer          messages since the whole state was written
---@field matches table<string, lignum.StreamSubscription[]>   [path]
---@field matched integer

local known                              ---@type lignum.StreamSubscriptions?
local log = core.internal()

-- Patterns ---------------------------------------------------------------------------------------

---A pattern of paths as one of Lua: * stands for anything but /, ** for anything.
---@param glob string
---@return string
function M.compile(glob)
  local lua = glob:gsub("[^%w*/]", "%%%0"):gsub("%*%*", "\0"):gsub("%*", "[^/]*"):gsub("%z", ".*")
  return "^" .. lua .. "$"
end

-- Records ----------------------------------------------------------------------------------------

local function key_record(key)
  return { key = "key", payload = json.encode { d = key.d, secret = crypto.encode(key.secret, "base64url") } }
end

local function read_key(payload)
  local text = json.decode(payload)
  local key = assert(crypto.key { kty = "OKP", crv = "Ed25519", d = text.d })
  local jwk = key:jwk()
  local kid = "ds_" .. crypto.encode(crypto.sha256(jwk.x), "base64url"):sub(1, 16)
  return { d = text.d, key = key, jwk = jwk, kid = kid, secret = crypto.decode(text.secret, "base64url") }
end

---The record of a subscription as it is now.
---@param sub lignum.StreamSubscription
function M.record(sub)
  return { key = "subscription " .. sub.id, payload = json.encode {
    config = sub.config, created = sub.created, base = sub.base, generation = sub.generation, wake = sub.wake,
    holder = sub.holder,
  } }
end

---@param sub lignum.StreamSubscription
---@param path string
function M.link_record(sub, path)
  local link = sub.links[path]
  return { key = "link " .. sub.id .. " " .. path, payload = link and json.encode(link) or "" }
end

local function remember(all, sub)
  sub.links, sub.count, sub.pending, sub.changed = {}, 0, {}, {}
  sub.failures, sub.retry = 0, 0
  sub.pattern = sub.config.pattern and M.compile(sub.config.pattern)
  all.all[sub.id], all.count, all.matches, all.matched = sub, all.count + 1, {}, 0
end

---@param all lignum.StreamSubscriptions
---@param sub lignum.StreamSubscription
function M.forget(all, sub)
  all.all[sub.id], all.count, all.links = nil, all.count - 1, all.links - sub.count
  all.matches, all.matched = {}, 0
end

---@param all lignum.StreamSubscriptions
---@param sub lignum.StreamSubscription
---@param path string
---@param link lignum.StreamLink?   nil: the stream has left the subscription
function M.set_link(all, sub, path, link)
  local more = (link and 1 or 0) - (sub.links[path] and 1 or 0)
  sub.links[path], sub.count, all.links = link, sub.count + more, all.links + more
  if not link then sub.pending[path] = nil end
  if more ~= 0 then all.matches[path] = nil end
end

---Whether a subscription may have `more` further streams.
---@param all lignum.StreamSubscriptions
---@param sub lignum.StreamSubscription
---@param more integer
function M.has_room(all, sub, more)
  return sub.count + more <= M.LINKS_MAX and all.links + more <= ALL_LINKS_MAX
end

local function apply(all, m)
  local kind, id, path = m.key:match("^(%a+) ?([^ ]*) ?(.*)$")
  local sub = all.all[id]
  all.logged = all.logged + 1
  if kind == "key" then
    all.key = read_key(m.payload)
  elseif kind == "subscription" and m.payload == "" then
    if sub then M.forget(all, sub) end
  elseif kind == "subscription" then
    local new = json.decode(m.payload)
    if not sub then
      new.id = id
      remember(all, new)
    else
      sub.generation, sub.wake, sub.holder = new.generation, new.wake, new.holder
    end
  elseif sub then
    M.set_link(all, sub, path, m.payload ~= "" and json.decode(m.payload) or nil)
  end
end

-- Reading them -----------------------------------------------------------------------------------

---The present stream of a path; nil: it does not exist, is deleted or unfinished.
---@param path string
---@return lignum.Stream? stream
---@return lignum.StreamState? state
function M.stream(path)
  local name = protocol.topic_name(path)
  if not name then return nil end
  local s, v = state.open(name)
  if not s or s.gone or state.is_unfinished(s, v) then return nil end
  return s, v
end

---Looks whether a stream of a subscription has messages that are not acknowledged.
---@param sub lignum.StreamSubscription
---@param path string
function M.look(sub, path)
  local link, s, v = sub.links[path], M.stream(path)
  if s and link.id and link.id ~= s.id then link.acked, sub.changed[path] = "-1", true end      -- created again
  if s and link.id ~= s.id then link.id, sub.changed[path] = s.id, true end
  local has = s and v.tail > link.acked and s.base + v.data > 0
  sub.pending[path] = has and true or nil
end

---The subscriptions that have a stream of that path, or match it.
---@param all lignum.StreamSubscriptions
---@param path string
---@return lignum.StreamSubscription[]
function M.of_path(all, path)
  local list = all.matches[path]
  if list then return list end
  list = {}
  for _, sub in pairs(all.all) do
    if sub.links[path] or sub.pattern and path:find(sub.pattern) then list[#list + 1] = sub end
  end
  if all.matched >= MATCHES_KNOWN then all.matches, all.matched = {}, 0 end
  all.matches[path], all.matched = list, all.matched + 1
  return list
end

---A stream has been appended to or created: it belongs to the subscriptions that match it, from its beginning.
---@param all lignum.StreamSubscriptions
---@param path string
---@return lignum.StreamSubscription[] subs   whose stream it is
function M.note(all, path)
  local list = M.of_path(all, path)
  for _, sub in ipairs(list) do
    if not sub.links[path] and M.has_room(all, sub, 1) then
      M.set_link(all, sub, path, { acked = "-1", glob = true })
      sub.changed[path] = true
    end
    if sub.links[path] then M.look(sub, path) end
  end
  return list
end

---A stream has been deleted: removes it from all subscriptions.
---@param all lignum.StreamSubscriptions
---@param path string
---@return lignum.StreamSubscription[] subs   whose stream it was
function M.drop(all, path)
  local list = {}
  for _, sub in ipairs(M.of_path(all, path)) do
    if sub.links[path] then
      M.set_link(all, sub, path, nil)
      sub.changed[path] = true
      list[#list + 1] = sub
    end
  end
  return list
end

local late                               ---@type table<string, true>?   paths to look at once all is read

---A stream has changed while the subscriptions are not known, or are being read.
---@param path string
function M.note_later(path)
  if late then late[path] = true end
end

local function look_at_late(all)
  for path in pairs(late or {}) do
    if M.stream(path) then M.note(all, path) else M.drop(all, path) end
  end
  late = nil
end

-- What the leader before may not have noted: streams that were created or appended to, and those that are deleted.
local function look_at_all(all)
  late = {}
  local count = 0
  local function pause()
    count = count + 1
    if count % PIECE == 0 then core.sleep(0) end
  end
  for _, sub in pairs(all.all) do
    local paths = {}
    for path, link in pairs(sub.links) do paths[#paths + 1] = { path, link } end
    for _, each in ipairs(paths) do
      local path, link = each[1], each[2]
      if link.id and not M.stream(path) then
        M.set_link(all, sub, path, nil)
        sub.changed[path] = true
      else
        M.look(sub, path)
      end
      pause()
    end
  end
  if not next(all.all) then return end
  for _, t in ipairs(core.topics(protocol.TOPICS .. "*")) do
    local s = state.open(t.name)
    if s and M.stream(s.labels.path) then M.note(all, s.labels.path) end
    pause()
  end
end

-- A lease that was out goes on, and the consumer is told of a wake again.
local function resume(all)
  for _, sub in pairs(all.all) do
    if sub.holder then sub.deadline = core.time.clock() + sub.config.lease_ttl_ms / 1000 end
  end
end

local function read_all(all, tail)
  local from
  while all.at < tail do
    local batch, why, code = log:read { from = from, to = tail, limit = PIECE }
    if not batch then return nil, why, code end
    if #batch == 0 then return nil, "the subscriptions cannot be read", "unavailable" end
    for i = 1, #batch do apply(all, batch[i]) end
    from, all.at = batch.next, batch.next
    core.sleep(0)
  end
  return all
end

local function read(led)
  local all = { led = led, at = 0, all = {}, count = 0, links = 0, logged = 0, matches = {}, matched = 0 }
  local next, tail = log:place()
  if not next then return all end        -- nobody has subscribed yet
  if tail > 0 and next < tail then
    local ok, why, code = log:wait(tail - 1, PATIENCE)
    if not ok then return nil, why, code end
  end
  local ok, why, code = read_all(all, tail)
  if not ok then return nil, why, code end
  look_at_all(all)
  look_at_late(all)
  resume(all)
  return all
end

local function is_current(all)
  if not all or all.led ~= core.node.epoch() then return false end
  local next, tail = log:place()
  return all.at == (next and tail or 0)
end

---What this node knows as the leader.
---@return lignum.StreamSubscriptions? all
---@return string? message
---@return string? code
function M.current()
  if is_current(known) then return known end
  local held <close> = assert(core.lock("durable_streams.subscriptions"))      -- luacheck: ignore 211
  while not is_current(known) do
    if core.cluster.follows() then return nil, "this node does not lead", "not_leader" end
    local why, code
    known, why, code = read(core.node.epoch())
    if not known then return nil, why, code end
  end
  return known
end

---Whether there was no subscription when this node last looked, which it does again and again. It is cheap.
---@return boolean
function M.is_empty()
  return known ~= nil and known.count == 0
end

---What this node knows as the leader, if it does without waiting.
---@return lignum.StreamSubscriptions?
function M.loaded()
  return is_current(known) and known or nil
end

-- Writing them -----------------------------------------------------------------------------------

-- Names all that is known. Records are made of it piece by piece, as it is then: between two pieces it may change.
local function everything(all)
  local list = { all.key and key_record(all.key) }
  for _, sub in pairs(all.all) do
    list[#list + 1] = { sub = sub }
    for path in pairs(sub.links) do list[#list + 1] = { sub = sub, path = path } end
  end
  return list
end

local function piece(all, list, at)
  local part = {}
  for i = at, math.min(at + PIECE - 1, #list) do
    local each = list[i]
    local sub = each.sub
    if not sub then
      part[#part + 1] = each
    elseif all.all[sub.id] == sub then
      part[#part + 1] = each.path and M.link_record(sub, each.path) or M.record(sub)
    end
  end
  return part
end

local function append(all, records)
  for at = 1, #records, PIECE do
    local _, tail, epoch = log:place()
    if not is_current(all) then return nil, "another task came first", "precondition_failed" end
    local part = piece(all, records, at)
    local expect = tail == 0 and "0:0" or ("%d:%d"):format(epoch, tail)
    if #part > 0 then
      all.at = tail + #part
      local first, why, code = core.append(log, part, { ack = "peers", expect = expect })
      if not first then return nil, why, code end
    end
  end
  return true
end

---Writes records of what has been changed in memory, and waits until they are acknowledged. If they are not, the
---whole state is read again.
---@param all lignum.StreamSubscriptions
---@param records table[]
---@return boolean? ok
---@return string? message
---@return string? code   precondition_failed: another task came first, and what this one knew was out of date
function M.save(all, records)
  if not log:place() then
    local made, why, code = log:create {
      replication = "live", retain = { messages = KEPT }, segment = { bytes = 4 << 20 },
    }
    if made == nil and code ~= "topic_exists" then
      if known == all then known = nil end
      return nil, why, code
    end
  end
  all.logged = all.logged + #records
  local full = all.logged > KEPT // 2
  if full then
    records = everything(all)
    all.logged = #records
  end
  local ok, why, code = append(all, records)
  if not ok and known == all then known = nil end
  return ok, why, code
end

---Waits until all that is in memory is acknowledged.
---@param all lignum.StreamSubscriptions
---@return boolean? ok
---@return string? message
---@return string? code
function M.settle(all)
  if all.at == 0 then return true end
  return log:wait(all.at - 1, PATIENCE)
end

---The records of the streams of a subscription that are not written yet, which then count as written.
---@param sub lignum.StreamSubscription
---@return table[]
function M.changes(sub)
  local list = {}
  for path in pairs(sub.changed) do list[#list + 1] = M.link_record(sub, path) end
  sub.changed = {}
  return list
end

---The key that signs what webhooks are sent, and the secret of their tokens. It is made once.
---@param all lignum.StreamSubscriptions
---@return table? key
---@return string? message
---@return string? code
function M.key(all)
  if all.key then return all.key end
  local d = crypto.encode(crypto.random(32), "base64url")
  local made = key_record { d = d, secret = crypto.random(32) }
  all.key = read_key(made.payload)
  local ok, why, code = M.save(all, { made })
  if not ok then return nil, why, code end
  return all.key
end

---Adds a subscription to what is in memory.
---@param all lignum.StreamSubscriptions
---@param sub table   id, config, created, base
---@return lignum.StreamSubscription
function M.add(all, sub)
  sub.generation = 0
  remember(all, sub)
  return sub
end

return M
