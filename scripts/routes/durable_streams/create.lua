--- Durable Streams: PUT creates a stream or a fork.
local core = require "lignum.core"
local forks = require "routes.durable_streams.forks"
local messages = require "routes.durable_streams.messages"
local policy = require "lignum.policy"
local protocol = require "routes.durable_streams.protocol"
local state = require "routes.durable_streams.state"
local wakes = require "routes.durable_streams.wakes"

local fail, dress, media = protocol.fail, protocol.dress, protocol.media
local header = core.Request.header

local M = {}

local TRIES <const> = 10     -- while other requests create and delete the same stream

---@class lignum.StreamWish
---@field type string
---@field typed boolean       the request names a type
---@field ttl? string
---@field expires? string
---@field closed boolean
---@field from? string        Stream-Forked-From
---@field offset? string
---@field sub string
---@field path string

-- What a request asks for; or nil, the problem, and its code.
local function wish_of(req)
  local kind, ttl, expires, closed, from, offset, sub = header(req, "content-type", "stream-ttl", "stream-expires-at",
    "stream-closed", "stream-forked-from", "stream-fork-offset", "stream-fork-sub-offset")
  local typed = kind ~= nil and kind:find("^[%w_.+-]+/[%w_.+-]+") ~= nil
  local problem = ttl and expires and "only one of Stream-TTL and Stream-Expires-At can be given"
    or ttl and not protocol.is_plain(ttl) and "Stream-TTL must be a whole number of seconds"
    or expires and not core.time.parse(expires) and "Stream-Expires-At must be a time as in RFC 3339"
    or sub and not from and "Stream-Fork-Sub-Offset needs Stream-Forked-From"
    or sub and not protocol.is_plain(sub) and "Stream-Fork-Sub-Offset must be a whole number"
  if problem then return nil, problem, "bad_value" end
  return {
    type = typed and kind or "application/octet-stream", typed = typed, ttl = ttl, expires = expires,
    closed = protocol.is_true(closed), from = from, offset = offset, sub = sub or "0", path = req:param("path"),
  }
end

-- A fork takes from its source what its request does not say.
local function inherit(wish, of)
  if not wish.typed then wish.type = of.type end
  if not wish.ttl and not wish.expires then wish.ttl, wish.expires = of.ttl, of.expires end
end

-- Whether an existing stream is what is asked for.
local function is_same(s, v, wish)
  local l = s.labels
  if wish.from then inherit(wish, l) end
  return media(l.type) == media(wish.type) and l.ttl == wish.ttl and l.expires == wish.expires and l.from == wish.from
    and (state.is_unfinished(s, v) or v.closed == wish.closed)
    and (not wish.from or (l.sub or "0") == wish.sub)
    and (not (wish.from and wish.offset) or (l.asked or protocol.token(s.base_epoch, s.base)) == wish.offset)
end

local function described(status, s, v, headers)
  headers = headers or {}
  headers["Content-Type"], headers["Stream-Next-Offset"] = s.type, v.tail
  headers["Stream-Closed"] = v.closed and "true" or nil
  return status, nil, dress(headers)
end

-- The source of a fork, with the fork's place in it; or nil and an answer.
local function source_of(wish)
  local path = protocol.path_in(wish.from)
  local name = path and protocol.topic_name(path)
  if not name then return nil, fail("unknown_stream", "Stream-Forked-From names no stream") end
  local s, v, code = state.usable(name)
  if code == "stream_gone" then return nil, fail("conflict", "the source is deleted; forks of it still exist") end
  if not s then return nil, fail(code, v) end
  if wish.typed and media(wish.type) ~= s.media then
    return nil, fail("conflict", ("the source is of type %s, not %s"):format(s.type, wish.type))
  end
  inherit(wish, s.labels)
  local position, epoch, extra = forks.parting(s, v, wish.offset, tonumber(wish.sub))
  if not position then return nil, fail(extra, epoch) end
  return { s = s, position = position, epoch = epoch, extra = extra }
end

local function labels_of(wish, source, initial)
  local l = {
    path = wish.path, type = wish.type, ttl = wish.ttl, expires = wish.expires, created = ("%.3f"):format(core.now()),
    initial = initial and "1" or nil,
  }
  if source then
    l.from, l.from_topic, l.asked = wish.from, source.s.name, wish.offset
    l.fork, l.fork_epoch = tostring(source.position), tostring(source.epoch)
    l.sub = wish.sub ~= "0" and wish.sub or nil
  end
  return l
end

-- Appends what a stream begins with. nil: another request has done it.
local function begin(req, name, wish, list)
  local s, w, code = state.writer(name)
  if not s then return fail(code, w) end
  if w.at > 0 then return nil end
  local bare = #list == 0
  local n, why, more
  n, why, code, more = state.append(s, w, bare and { { payload = "" } } or table.move(list, 1, #list, 1, {}),
    { closed = wish.closed, bare = bare }, req)
  if not n and code == "precondition_failed" then return nil end
  if not n then return fail(code, why, nil, more) end
  wakes.touched(s.labels.path)
  return described(201, s, n, { Location = protocol.url(req, req.path) })
end

-- Creates the topic. nil: there is one of that name by now.
local function create(req, name, wish, source, list)
  local initial = #list > 0 or wish.closed
  local t = core.topic(name)
  local made, why, code = t:create((policy.settings(name, { expire = 0 })),      -- a stream has its Stream-TTL
    { labels = labels_of(wish, source, initial), source = source and source.s.id })
  if not made then
    if made == false or code == "topic_exists" then return nil end
    if code == "unknown_topic" then return fail("conflict", "the source has been deleted") end
    return fail(code, why)
  end
  if initial then return begin(req, name, wish, list) end
  local s, v
  s, v, code = state.open(name)
  if not s then return fail(code, v) end
  wakes.touched(wish.path)
  return described(201, s, v, { Location = protocol.url(req, req.path) })
end

-- The answer for a stream that exists; nil: it does not any more.
local function existing(req, name, wish, list)
  local s, v, code = state.usable(name)
  if s then
    if not is_same(s, v, wish) then return fail("stream_exists") end
    return described(200, s, v)
  end
  if code == "stream_gone" then return fail("conflict", "the stream is deleted; forks of it still exist") end
  if code ~= "unknown_topic" and code ~= "unknown_stream" then return fail(code, v) end
  s, v = state.open(name)
  if not s or s.gone or not state.is_unfinished(s, v) then return nil end
  if is_same(s, v, wish) and (#list > 0 or wish.closed) then return begin(req, name, wish, list) end
  state.remove(s)                     -- nobody has been told of it
  return nil
end

---`PUT /v1/stream/{path}`
---@param req lignum.Request
function M.put(req)
  local name = protocol.topic_name(req:param("path"))
  if not name and protocol.is_reserved(req:param("path")) then return fail("not_found") end
  if not name then return fail("uri_too_long", "the path of the stream is too long") end
  local wish, why, code = wish_of(req)
  if not wish then return fail(code, why) end
  local source
  if wish.from then
    local status, body, headers
    source, status, body, headers = source_of(wish)
    if not source then return status, body, headers end
  end
  local list, more
  list, why, code, more = messages.of(req, name, wish.type, req:header("content-encoding"))
  if not list then return fail(code, why, nil, more) end
  if source and source.extra then table.insert(list, 1, source.extra) end
  for _ = 1, TRIES do
    local status, body, headers = existing(req, name, wish, list)
    if not status then status, body, headers = create(req, name, wish, source, list) end
    if status then return status, body, headers end
  end
  return fail("busy", "other requests create and delete the stream at the same time")
end

return M
