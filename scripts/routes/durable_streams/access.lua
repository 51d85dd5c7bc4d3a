--- Durable Streams: how long streams live. Stream-Expires-At is a time; Stream-TTL are seconds after the last access, a
--- read or an append.
local core = require "lignum.core"

local now = core.now

local M = {}

local seen = core.shared.dict("durable_streams.access")      -- [id] = time of the last read

---@param s lignum.Stream
function M.touch(s)
  if s.labels.ttl then seen:set(s.id, now(), tonumber(s.labels.ttl) + 1) end
end

---Whether the stream has expired. Only the leader knows it of one with a Stream-TTL.
---@param s lignum.Stream
---@param v lignum.StreamState
---@return boolean
function M.is_over(s, v)
  local labels = s.labels
  if labels.expires and now() >= (core.time.parse(labels.expires) or math.huge) then return true end
  if not labels.ttl or core.cluster.follows() then return false end
  local last = math.max(tonumber(labels.created), v.time or 0, seen:get(s.id) or 0)
  return now() - last >= tonumber(labels.ttl)
end

return M
