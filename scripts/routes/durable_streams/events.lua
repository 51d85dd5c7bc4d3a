--- Durable Streams: live=sse. Each batch is an event `data`, followed by an event `control` that says where it ends.
---
--- All readers of a stream that stand at the same place get the same text, which is rendered once.
local core = require "lignum.core"
local forks = require "routes.durable_streams.forks"
local protocol = require "routes.durable_streams.protocol"
local state = require "routes.durable_streams.state"

local token, dress, clock = protocol.token, protocol.dress, core.time.clock

local M = {}

local LIFE <const> = 60      -- seconds: then the client connects again, so that proxies can balance
local QUIET <const> = 15     -- seconds without messages until a comment is sent
local RENDERED_MAX <const> = 64

local function lines(text)
  if not text:find("[\r\n]") then return "data:" .. text .. "\n" end
  return "data:" .. text:gsub("\r\n", "\n"):gsub("\r", "\n"):gsub("\n", "\ndata:") .. "\n"
end

-- [id, from and state] = what is to be sent from there: { data =, position =, epoch =, at_end =, closed = }
local rendered, count = {}, 0
local last                             -- of these the one that was asked for last, with its { s =, from =, v = }

-- What is to be sent from a place on: the event, and where it ends. Readers of a stream that are woken together come to
-- the same piece.
local function piece(s, v, from, epoch)
  if last and last.s == s and last.from == from and last.v == v then return last end
  local key = ("%s %d %d %d"):format(s.id, from, v.at, v.cuts)
  local known = rendered[key]
  if known then
    last = known
    return known
  end
  local r, why, code = forks.read(s, v, from, epoch, protocol.CHUNK)
  if not r then return nil, why, code end
  if r.count > 0 then
    local text = r.text or r.batch:render(s.json and "array" or "bytes")
    r.data = "event: data\n" .. (s.text and lines(text) or "data:" .. core.base64.encode(text) .. "\n") .. "\n"
  end
  r.batch, r.text = nil, nil
  r.s, r.from, r.v = s, from, v
  r.at_end = r.position >= s.base + v.data
  r.closed = r.at_end and v.closed
  last = r
  if count >= RENDERED_MAX then rendered, count = {}, 0 end
  rendered[key], count = r, count + 1
  return r
end

-- The event that says where the client stands.
local function control(at, at_end, closed, cursor)
  return "event: control\ndata:" .. core.json.encode {
    streamNextOffset = at, streamClosed = closed and true or nil, streamCursor = not closed and cursor or nil,
    upToDate = at_end and true or nil,
  } .. "\n\n"
end

-- All that a piece has for a client with that cursor, which is the same for most of them.
local function text_of(r, cursor)
  if r.cursor ~= cursor then
    r.cursor = cursor
    r.text = (r.data or "") .. control(token(r.epoch, r.position), r.at_end, r.closed, cursor)
  end
  return r.text
end

local function follow(write, s, epoch, position, given)
  local name, id, deadline, first = s.name, s.id, clock() + LIFE, true
  while true do
    local v
    s, v = state.usable(name)
    if not s or s.id ~= id then return end
    local r = piece(s, v, position, epoch)
    if not r then return end
    position, epoch = r.position, r.epoch
    if r.data or first or r.closed then
      if not write(text_of(r, protocol.cursor_after(given))) or r.closed then return end
      first = false
    end
    if r.at_end then
      local left = deadline - clock()
      if left <= 0 then return end
      local ok, _, code = s.topic:wait(v.at, math.min(left, QUIET))
      if not ok and (code ~= "timeout" or not write(":\n\n")) then return end
    end
  end
end

---The answer to a request with live=sse.
---@param s lignum.Stream
---@param epoch integer
---@param position integer
---@param cursor? string
function M.answer(s, epoch, position, cursor)
  -- Takes the place of one that waits, which is held until the answer ends: when there is none left, the client is told
  -- so by the status, and not by a stream that ends.
  local _, why, code = s.topic:wait(core.limits.json_integer_max, 0.001)
  if code == "too_many_requests" then return protocol.fail(code, why) end
  s.text = s.json or s.media:find("^text/") ~= nil
  local headers = dress {
    ["Content-Type"] = "text/event-stream", ["Cache-Control"] = "no-cache", ["X-Accel-Buffering"] = "no",
    ["Stream-SSE-Data-Encoding"] = not s.text and "base64" or nil,
  }
  return 200, function(write) follow(write, s, epoch, position, cursor) end, headers
end

return M
