--- Durable Streams: what is read on any node is not older than what any node had acknowledged before.
local core = require "lignum.core"
local forward = require "lignum.forward"
local protocol = require "routes.durable_streams.protocol"
local state = require "routes.durable_streams.state"

local M = {}

local PATIENCE <const> = 2      -- seconds in which a leader may appear, or change
local PAUSE <const> = 0.05
-- While the leader changes; or the topic was created again between the leader's answer and ours.
local PASSING <const> = { unavailable = true, no_leader = true, not_leader = true }

-- As topic:barrier, also while the leader changes.
local function wait_for(t)
  local deadline = core.time.clock() + PATIENCE
  while true do
    local ok, why, code = t:barrier()
    if ok or not PASSING[code] or core.time.clock() > deadline then return ok, why, code end
    core.sleep(PAUSE)
  end
end

-- Only the leader knows when a stream with a time to live was last used, and whether it is over: it is told of this
-- read by one that needs nothing. Returns its answer where that says that there is no such stream. A HEAD is no access:
-- the leader's whole answer is returned.
local function tell_leader(req)
  if req.method == "HEAD" then return forward.to_leader(req, function() return 503 end) end
  local target = req.target:match("^[^?]*") .. "?offset=now"
  local asked = { method = "GET", target = target, headers = req.headers, body = "" }
  function asked.header(_, ...) return req:header(...) end
  local status, body, headers = forward.to_leader(asked, function() return 200 end)
  if status ~= 200 then return status, body, headers end
end

---Waits until the stream of that name can be read here as it is. Nothing, or an answer.
---@param req lignum.Request
---@param name string
---@return integer? status
---@return any body
---@return table? headers
function M.pass(req, name)
  while name do
    local ok, why, code = wait_for(core.topic(name, true))
    if not ok then return protocol.fail(code, why) end
    local s = state.open(name)
    if s and s.labels.ttl and core.cluster.follows() then
      local status, body, headers = tell_leader(req)
      if status then return status, body, headers end
    end
    name = s and s.labels.from_topic
  end
end

return M
