--- Durable Streams: how long streams live. Stream-Expires-At is a time; Stream-TTL are seconds after the last access, a
--- read or an append.
---
--- Appends are dated by the log. Reads are known to the leader alone, in memory (`seen`, which outlives a reload), and
--- from time to time in the topic streams.access: a message for each stream, its key the topic's id, its payload the
--- time of the last read. A node that begins to lead reads that topic. The last read may be newer than it says, by the
--- precision and the pause between two writes; so a stream that has not been used since this node leads is over that
--- much later, and none is over too early.
---
--- The topic keeps its last KEPT messages, by retention. All that is known is written again before half of them are
--- new.
local core = require "lignum.core"
local policy = require "lignum.policy"

local now = core.now

local M = {}

M.TOPIC = "streams.access"
M.PAUSE = 1                              -- seconds between two writes
local PRECISION <const> = 20             -- a read is written if it is a 20th of the time to live after the one before
local KEPT <const> = 200 * 1000
local PIECE <const> = 1000               -- messages read or written between two waits

local seen = core.shared.dict("durable_streams.access", { bytes = 32 << 20 })      -- [id] = time of the last read
local touched = {}                       -- [id] = time to live, of streams that were read since the last write

---@class lignum.StreamLeading
---@field epoch integer
---@field since number                   when this node began to lead, at the latest
---@field written table<string, number>  [id] = what the topic says
---@field logged integer                 messages since all was written
local leading                            ---@type lignum.StreamLeading?

local function precision(ttl)
  return math.max(M.PAUSE, ttl / PRECISION)
end

local function read_all(state)
  local t, from = core.topic(M.TOPIC), nil
  while true do
    local batch = t:read { from = from, limit = PIECE }
    if not batch or #batch == 0 then return end
    for i = 1, #batch do
      local m = batch[i]
      local at = tonumber(m.payload)
      if m.key and at then
        state.written[m.key], state.logged = at, state.logged + 1
        if at > (seen:get(m.key) or 0) then seen:set(m.key, at) end
      end
    end
    from = batch.next
    core.sleep(0)
  end
end

-- What this node knows as the leader, which it reads when it begins to lead.
local function lead()
  local epoch = core.node.epoch()
  if leading and leading.epoch == epoch then return leading end
  local held <close> = assert(core.lock("durable_streams.access"))      -- luacheck: ignore 211
  if leading and leading.epoch == epoch then return leading end
  local state = { epoch = epoch, since = now(), written = {}, logged = 0 }
  read_all(state)
  leading = state
  return state
end

---@param s lignum.Stream
function M.touch(s)
  local ttl = s.labels.ttl
  if not ttl then return end
  seen:set(s.id, now())
  touched[s.id] = tonumber(ttl)
end

---Whether the stream has expired. Only the leader knows it of one with a Stream-TTL.
---@param s lignum.Stream
---@param v lignum.StreamState
---@return boolean
function M.is_over(s, v)
  local labels = s.labels
  if labels.expires and now() >= (core.time.parse(labels.expires) or math.huge) then return true end
  if not labels.ttl or core.cluster.follows() then return false end
  local state, ttl = lead(), tonumber(labels.ttl)
  local last = math.max(tonumber(labels.created), v.time or 0, seen:get(s.id) or 0)
  local ours = s.id:match("^%d+") == tostring(state.epoch)      -- all its readers have come by this leader
  local unsure = not ours and last < state.since and precision(ttl) + M.PAUSE or 0
  return now() - last >= ttl + unsure
end

---Forgets a stream that is deleted.
---@param id string
function M.forget(id)
  seen:set(id, nil)
  touched[id] = nil
  if leading then leading.written[id] = nil end
end

local function write(state, records)
  if #records == 0 then return true end
  local t = core.topic(M.TOPIC)
  if not t:place() then
    local settings = policy.settings(M.TOPIC, { retain = { messages = KEPT }, segment = { bytes = 1 << 20 } })
    if t:create(settings) == nil then return false end
  end
  for at = 1, #records, PIECE do
    if not core.append(t, table.move(records, at, math.min(at + PIECE - 1, #records), 1, {})) then return false end
  end
  for _, r in ipairs(records) do state.written[r.key] = tonumber(r.payload) end
  state.logged = state.logged + #records
  return true
end

local function record(id, at)
  return { key = id, payload = ("%.3f"):format(at) }
end

---Writes what was read of late, so that the next leader knows it. A timer calls this on the leader.
function M.write()
  local state, records = lead(), {}
  if not next(touched) then return end
  local all = state.logged > KEPT // 2
  for id, ttl in pairs(touched) do
    local at, written = seen:get(id), state.written[id]
    if not at then
      touched[id] = nil
    elseif not written or at - written >= precision(ttl) then
      records[#records + 1] = record(id, at)
      touched[id] = nil
    end
  end
  for id in pairs(all and state.written or {}) do
    local at = seen:get(id)
    if at then records[#records + 1] = record(id, at) else state.written[id] = nil end
  end
  if write(state, records) and all then state.logged = #records end
end

return M
