--- text/event-stream: messages as server-sent events, until the client disconnects.
---
--- The data of an event is one message as in an NDJSON read (with raw=1 its payload); its id is `epoch:offset:topic`. A
--- client that reconnects with Last-Event-ID continues after that message. A comment every 15 seconds keeps proxies
--- from closing the connection; it has an id where a filter has left out what came since the last event.
local core = require "lignum.core"
local range = require "lignum.range"

local M = {}

local QUIET <const> = 15     -- seconds without messages until a comment is sent
-- One read: messages, and bytes, which wait in memory for a slow client. Batches are read whole, and so once.
local PIECE <const> = core.limits.read_count_max
local PIECE_BYTES <const> = core.limits.read_size_default

M.HEADERS = {
  ["Content-Type"] = "text/event-stream",
  ["Cache-Control"] = "no-store",
  ["X-Content-Type-Options"] = "nosniff",
  ["X-Accel-Buffering"] = "no",
}

-- The event that ends a stream with an error.
local function failure(t, why, code, point)
  point = point or {}
  local info = code == "offset_gone" and t:info()
  local problem = core.json.encode {
    code = code, detail = why, epoch = point.epoch, offset = point.offset, earliest = info and info.first or nil,
  }
  return "event: error\ndata: " .. problem .. "\n\n"
end

-- A stream that ends with these sends no event: the client shall reconnect, or has disconnected.
local QUIET_ENDS = { stopping = true, cancelled = true }

-- Waits for messages at `from` and reads them; after QUIET seconds without any the batch is empty. On failure: nil and
-- the event to send, if there is one. The wait may outlast a truncation of messages that the client has; then the event
-- says up to where the client's copy is valid.
local function next_batch(t, asked, from, epoch, left, filter)
  local batch, point
  local ok, why, code = t:wait(from, QUIET)
  if ok or code == "timeout" then
    ok, why, code, point = range.check(t, epoch, from, asked.id)
    if ok then
      batch, why, code = t:read { from = from, to = asked.to, limit = math.min(left, PIECE), bytes = PIECE_BYTES,
        whole = true, filter = filter }
    end
  end
  if batch then return batch end
  return nil, not QUIET_ENDS[code] and failure(t, why, code, point) or nil
end

-- The comment of a quiet time. With `from` it has the id after which a client that reconnects goes on from there.
local function comment(t, epoch, from)
  local info = from and t:info()
  if not info then return ":\n\n" end
  return ("id: %d:%d:%s\n:\n\n"):format(epoch, from - 1, info.id:match("%d+$"))
end

---A body that waits until a topic is created, and then streams its messages from the first one on.
---@param t lignum.Topic
---@param form "events"|"raw_events"|"events_values"
---@param limit? integer
---@param filter? lignum.Filter
---@return fun(write: fun(piece: string|lignum.Batch): boolean)
function M.from_creation(t, form, limit, filter)
  local topics = core.topic "_topics"
  return function(write)
    while true do
      local seen = topics:info().next
      if t:info() then return M.events(t, { from = 0 }, form, limit, filter)(write) end
      local ok, why, code = topics:wait(seen, QUIET)       -- any change of the list of topics
      if not ok and code ~= "timeout" then
        if not QUIET_ENDS[code] then write(failure(t, why, code)) end
        return
      end
      if not ok and not write(":\n\n") then return end
    end
  end
end

---A body that streams the messages from `asked.from`, up to `asked.to` and at most `limit`, if given.
---@param t lignum.Topic
---@param asked lignum.Asked
---@param form "events"|"raw_events"|"events_values"
---@param limit? integer
---@param filter? lignum.Filter
---@return fun(write: fun(piece: string|lignum.Batch): boolean)
function M.events(t, asked, form, limit, filter)
  local from, to, epoch, left = asked.from, asked.to, asked.epoch, limit or math.huge
  return function(write)
    local said, skipped = core.time.clock(), false
    while left > 0 and (not to or from < to) do
      local batch, problem = next_batch(t, asked, from, epoch, left, filter)
      if not batch then
        if problem then write(problem) end
        return
      end
      local moved = batch.next > from
      if moved then from, epoch, skipped = batch.next, batch.epoch, #batch == 0 end
      if #batch > 0 or core.time.clock() - said >= QUIET then
        if not write(#batch > 0 and batch:as(form) or comment(t, epoch, skipped and from)) then return end
        said, left = core.time.clock(), left - #batch
      elseif moved then
        core.sleep(0)     -- so that a long way without a message lets other tasks run
      end
    end
  end
end

return M
