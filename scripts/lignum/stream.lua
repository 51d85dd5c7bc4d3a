--- text/event-stream: messages as server-sent events, for as long as the client listens.
---
--- Each event's data is one message as in an NDJSON read (or its payload, with raw=1), its id is
--- `epoch:offset`; a client that comes back with Last-Event-ID goes on after it. A comment each 15
--- seconds keeps proxies from closing.
local core = require "lignum.core"
local range = require "lignum.range"

local M = {}

local QUIET <const> = 15     -- seconds
local PIECE <const> = 500    -- messages of one step

M.HEADERS = {
  ["Content-Type"] = "text/event-stream",
  ["Cache-Control"] = "no-cache",
  ["X-Accel-Buffering"] = "no",
}

-- The event that ends a stream, and says why.
local function failure(why, code, point)
  point = point or {}
  local problem = core.json.encode { code = code, detail = why, epoch = point.epoch, offset = point.offset }
  return "event: error\ndata: " .. problem .. "\n\n"
end

-- Ends that say nothing: the client is to come again, or has gone.
local QUIET_ENDS = { stopping = true, cancelled = true }

-- Messages from there on, once there are any or it has been quiet for long; or nothing, and the event that says why,
-- if one does. What the client has may have been cut off meanwhile: then it is told up to where it is still right.
local function next_batch(t, asked, from, epoch)
  local batch, point
  local ok, why, code = t:wait(from, QUIET)
  if ok or code == "timeout" then
    ok, why, code, point = range.still(t, epoch, from)
    if ok then batch, why, code = t:read { from = from, to = asked.to, limit = PIECE, bytes = asked.bytes } end
  end
  if batch then return batch end
  return nil, not QUIET_ENDS[code] and failure(why, code, point) or nil
end

---A body that streams from `from` on (up to `to`, if there is one).
---@param t lignum.Topic
---@param asked lignum.Asked
---@param raw boolean
---@return fun(write: fun(bytes: string): boolean)
function M.events(t, asked, raw)
  local from, to, epoch = asked.from, asked.to, asked.epoch
  local form = raw and "raw_events" or "events"
  return function(write)
    while not to or from < to do
      local batch, problem = next_batch(t, asked, from, epoch)
      if not batch then
        if problem then write(problem) end
        return
      end
      if not write(#batch > 0 and batch:render(form) or ":\n\n") then return end
      from, epoch = batch.next, #batch > 0 and batch.epoch or epoch
    end
  end
end

return M
