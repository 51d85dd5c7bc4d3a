--- Durable Streams: GET and HEAD. Events are in events.lua.
local access = require "routes.durable_streams.access"
local barrier = require "routes.durable_streams.barrier"
local core = require "lignum.core"
local events = require "routes.durable_streams.events"
local forks = require "routes.durable_streams.forks"
local protocol = require "routes.durable_streams.protocol"
local state = require "routes.durable_streams.state"

local fail, dress, token, parse_token = protocol.fail, protocol.dress, protocol.token, protocol.parse_token
local clock = core.time.clock

local M = { long_poll = 20 }     -- seconds that a long-poll waits

local function head(s, v)
  return 200, "", dress {
    ["Content-Type"] = s.type, ["Stream-Next-Offset"] = v.tail, ["Cache-Control"] = "no-store",
    ["Stream-TTL"] = s.labels.ttl, ["Stream-Expires-At"] = s.labels.expires,
    ["Stream-Closed"] = v.closed and "true" or nil,
  }
end

-- The problem of a query, if it has one. req.query has only the last of several offsets.
local function query_problem(req, q)
  local _, offsets = ("&" .. (req.target:match("%?(.*)") or "")):gsub("&offset=", "")
  if q.offset == "" then return "offset is empty" end
  if offsets > 1 then return "offset is given several times" end
  if q.live and q.live ~= "long-poll" and q.live ~= "sse" then return "live must be long-poll or sse" end
  if q.live and not q.offset then return "offset is missing" end
end

-- Where a read begins: epoch and position; or nil and an answer.
local function place_of(s, v, offset)
  if not offset or offset == "-1" then return 0, 0 end
  if offset == "now" then return parse_token(v.tail) end
  local epoch, position = parse_token(offset)
  if not epoch then return nil, fail("bad_value", "offset is malformed") end
  if offset > v.tail then return parse_token(v.tail) end
  if position > s.base and epoch > 0 then
    local ok, why, code = s.topic:check(epoch, position - s.base)
    if not ok then return nil, fail(code, why, nil, code == "log_truncated" and { status = 410 } or nil) end
  end
  return epoch, position
end

-- A part of If-None-Match is this ETag.
local function has_etag(req, etag)
  local given = req:header("if-none-match")
  if not given then return false end
  for each in given:gmatch("[^,]+") do
    if each:match("^%s*W?/?(.-)%s*$") == etag then return true end
  end
  return given == "*"
end

-- Nothing has come until the end of a long-poll.
local function nothing(v, r, cursor)
  return 204, nil, dress {
    ["Stream-Next-Offset"] = token(r.epoch, r.position), ["Stream-Up-To-Date"] = "true",
    ["Stream-Closed"] = v.closed and "true" or nil, ["Cache-Control"] = "no-store",
    ["Stream-Cursor"] = not v.closed and protocol.cursor_after(cursor) or nil,
  }
end

local function found(req, s, v, r, q)
  local at_end = r.position >= s.base + v.data
  local closed = at_end and v.closed
  local etag = ('"%s:%s:%s%s"'):format(s.id:gsub(":", "-"), q.offset or "-1", token(r.epoch, r.position),
    closed and ":c" or "")
  local headers = dress {
    ["Content-Type"] = s.type, ["Stream-Next-Offset"] = token(r.epoch, r.position), ETag = etag,
    ["Stream-Up-To-Date"] = at_end and "true" or nil, ["Stream-Closed"] = closed and "true" or nil,
    ["Stream-Cursor"] = q.live and protocol.cursor_after(q.cursor) or nil,
  }
  if has_etag(req, etag) then return 304, nil, headers end
  if r.batch then return 200, r.batch:as(s.json and "array" or "bytes"), headers end
  return 200, r.text, headers
end

-- Reads, and with live=long-poll waits for something to read.
local function read(req, s, v, epoch, position, q)
  local name, id, deadline = s.name, s.id, clock() + M.long_poll
  while true do
    local r, why, code = forks.read(s, v, position, epoch, protocol.CHUNK)
    if not r then return fail(code, why) end
    if not q.live or r.count > 0 then return found(req, s, v, r, q) end
    local left = deadline - clock()
    if v.closed or left <= 0 then return nothing(v, r, q.cursor) end
    local ok
    ok, why, code = s.topic:wait(v.at, left)
    if not ok and code ~= "timeout" and code ~= "cancelled" then return fail(code, why) end
    s, v, code = state.usable(name)
    if not s then return fail(code, v) end
    if s.id ~= id then return fail("unknown_stream") end
  end
end

local function at_now(s, v)
  return 200, s.json and "[]" or "", dress {
    ["Content-Type"] = s.type, ["Stream-Next-Offset"] = v.tail, ["Stream-Up-To-Date"] = "true",
    ["Cache-Control"] = "no-store", ["Stream-Closed"] = v.closed and "true" or nil,
  }
end

---`GET /v1/stream/{path}`
---@param req lignum.Request
function M.get(req)
  local name = protocol.topic_name(req:param("path"))
  if not name then return fail("unknown_stream") end
  local status, answer, more = barrier.pass(req, name)
  if status then return status, answer, more end
  local s, v, code = state.usable(name)
  if not s then return fail(code, v) end
  if req.method == "HEAD" then return head(s, v) end
  local q = req.query
  local problem = query_problem(req, q)
  if problem then return fail("bad_value", problem) end
  local epoch, position, body, headers = place_of(s, v, q.offset)
  if not epoch then return position, body, headers end
  access.touch(s)
  if q.live == "sse" then return events.answer(s, epoch, position, q.cursor) end
  if q.offset == "now" and not q.live then return at_now(s, v) end
  return read(req, s, v, epoch, position, q)
end

return M
