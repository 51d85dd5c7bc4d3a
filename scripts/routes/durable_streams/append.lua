--- Durable Streams: POST appends, closes, or both; DELETE.
local access = require "routes.durable_streams.access"
local barrier = require "routes.durable_streams.barrier"
local core = require "lignum.core"
local forward = require "lignum.forward"
local messages = require "routes.durable_streams.messages"
local protocol = require "routes.durable_streams.protocol"
local publish = require "lignum.publish"
local published = require "lignum.published"
local state = require "routes.durable_streams.state"
local wakes = require "routes.durable_streams.wakes"

local fail, dress, media, plain_headers = protocol.fail, protocol.dress, protocol.media, protocol.plain_headers
local header = core.Request.header
local follows = core.cluster.follows

local M = {}

local PRODUCER_ID_MAX <const> = core.limits.producer_id_max
local TRIES <const> = 100     -- of an append that others come before; each fails because another one has succeeded

---@class lignum.StreamProducer
---@field id string
---@field epoch integer
---@field seq integer
---@field tuple string

-- The producer in the headers of a request; nil: there is none, or the problem.
local function producer_of(id, epoch, seq)
  if not id and not epoch and not seq then return nil end
  if not (id and epoch and seq) then return nil, "Producer-Id, Producer-Epoch and Producer-Seq go together" end
  if id == "" or #id > PRODUCER_ID_MAX then
    return nil, ("Producer-Id must have 1 to %d bytes"):format(PRODUCER_ID_MAX)
  end
  local e, s = protocol.number(epoch), protocol.number(seq)
  if not e then return nil, "Producer-Epoch must be a whole number" end
  if not s then return nil, "Producer-Seq must be a whole number" end
  return { id = id, epoch = e, seq = s, tuple = id .. " " .. e .. " " .. s }
end

-- What a producer's request is: "new", "duplicate" with the last sequence, or an answer.
local function judge(s, p)
  local epoch, seq = s.topic:producer(p.id)
  if not epoch and p.seq > 0 then
    return nil, fail("sequence_gap", "the producer is new, and begins with sequence 0",
      { ["Producer-Expected-Seq"] = 0, ["Producer-Received-Seq"] = p.seq })
  end
  if not epoch then return "new" end
  if p.epoch < epoch then
    return nil, fail("fenced", "the producer has a newer epoch, " .. epoch, { ["Producer-Epoch"] = epoch })
  end
  if p.epoch > epoch then
    if p.seq == 0 then return "new" end
    return nil, fail("bad_value", "a new epoch of a producer begins with sequence 0")
  end
  if p.seq <= seq then return "duplicate", seq end
  if p.seq == seq + 1 then return "new" end
  return nil, fail("sequence_gap", "the next sequence of the producer is " .. seq + 1,
    { ["Producer-Expected-Seq"] = seq + 1, ["Producer-Received-Seq"] = p.seq })
end

local function closed_headers(w)
  return { ["Stream-Closed"] = "true", ["Stream-Next-Offset"] = w.tail }
end

-- The answer to a request that is in the log already, once it is acknowledged.
local function repeated(s, w, p, last)
  local ok, why, code = state.settle(s, w)
  if not ok then return fail(code, why) end
  return 204, nil, dress {
    ["Stream-Next-Offset"] = w.tail, ["Stream-Closed"] = w.closed and "true" or nil,
    ["Producer-Epoch"] = p and p.epoch, ["Producer-Seq"] = last,
  }
end

-- The answer to a request for a stream that is closed.
local function to_closed(s, w, p, has_body)
  if not has_body and not p then return repeated(s, w) end
  if p and w.closer == p.tuple then return repeated(s, w, p, p.seq) end
  return fail("stream_closed", nil, closed_headers(w))
end

---@class lignum.StreamAppend
---@field name string
---@field list (string|lignum.Message)[]   empty: to close only
---@field media? string
---@field closing boolean
---@field seq? string
---@field producer? lignum.StreamProducer

-- Tries it once, after the state w. nil: another append came first. A state that is older than the log is no harm: what
-- it lets through is then not appended, and what it refuses a newer one would refuse, too.
local function try(req, a, s, w)
  local code
  if not w then
    s, w, code = state.writer(a.name)
    if not s then return fail(code, w) end
  end
  local p, has_body = a.producer, a.media ~= nil
  if s.gone then return fail("stream_gone") end
  if w.closed then return to_closed(s, w, p, has_body) end
  if has_body and a.media ~= s.media then
    return fail("conflict", ("the stream is of type %s, not %s"):format(s.type, a.media))
  end
  if p then
    local what, last, body, headers = judge(s, p)
    if not what then return last, body, headers end
    if what == "duplicate" then return repeated(s, w, p, last) end
  end
  if a.seq and w.seq and a.seq <= w.seq then
    return fail("conflict", ("Stream-Seq %s does not follow the last one, %s"):format(a.seq, w.seq))
  end
  local bare, records = #a.list == 0, a.list
  if bare or a.closing or a.seq or w.seq then      -- the last one gets headers
    records = bare and { { payload = "" } } or table.move(a.list, 1, #a.list, 1, {})
  end
  local n, why, more
  n, why, code, more = state.append(s, w, records,
    { closed = a.closing, closer = a.closing and p and p.tuple or nil, seq = a.seq, bare = bare }, req)
  if n == false then return repeated(s, w, p, p and p.seq) end
  if not n and code == "precondition_failed" then return nil end
  if not n then return fail(code, why, nil, more) end
  if not bare then wakes.touched(s.labels.path) end
  return p and not bare and 200 or 204, nil, dress {
    ["Stream-Next-Offset"] = n.tail, ["Stream-Closed"] = a.closing and "true" or nil,
    ["Producer-Epoch"] = p and p.epoch, ["Producer-Seq"] = p and p.seq,
  }
end

local function post(req, name)
  local kind, coding, closing, seq, id, epoch, sequence = header(req, "content-type", "content-encoding",
    "stream-closed", "stream-seq", "producer-id", "producer-epoch", "producer-seq")
  local p, problem = producer_of(id, epoch, sequence)
  if problem then return fail("bad_value", problem) end
  local s, v, code = state.usable(name)
  if not s then return fail(code, v) end
  local w = code
  access.touch(s)
  local a = { name = name, list = {}, closing = protocol.is_true(closing), seq = seq, producer = p }
  if req.body ~= "" then
    if not kind then return fail("bad_value", "Content-Type is missing") end
    a.media = media(kind)
  elseif not a.closing then
    return fail("bad_value", "the body is empty")
  end
  if a.media == s.media and not v.closed then
    local why, more
    a.list, why, code, more = messages.of(req, name, s.type, coding)
    if not a.list then return fail(code, why, nil, more) end
    if #a.list == 0 then return fail("bad_value", "an empty array appends nothing") end
  end
  for _ = 1, TRIES do
    local status, body, headers = try(req, a, s, w)
    if status then return status, body, headers end
    w = nil
  end
  return fail("busy", "other appends to the stream came first each time")
end

-- Refusals that follow from what this node's log holds. A leader that another one has replaced, and that does not know
-- it yet, would refuse what the other one takes: they are given by a leader that is sure to be one.
local BY_THE_LOG <const> = { [403] = true, [404] = true, [409] = true, [410] = true }

---`POST /v1/stream/{path}`
---@param req lignum.Request
function M.post(req)
  local name = protocol.topic_name(req:param("path"))
  if not name then return fail("unknown_stream") end
  local offset, why, code
  if not publish.hooked and not published.wanted then
    offset, why, code = state.append_plain(req, name, wakes.touched)
  end
  if offset then return 204, nil, plain_headers(offset) end
  if code then return fail(code, why) end
  local status, body, headers = post(req, name)
  if BY_THE_LOG[status] then
    local doubtful, answer, more = barrier.pass(req, name)
    if doubtful then return doubtful, answer, more end
    if follows() then return forward.to_leader(req, function() return post(req, name) end) end
  end
  return status, body, headers
end

---`DELETE /v1/stream/{path}`
---@param req lignum.Request
function M.delete(req)
  local name = protocol.topic_name(req:param("path"))
  if not name then return fail("unknown_stream") end
  local s, v, code = state.usable(name)
  if not s then return fail(code, v) end
  local ok, why
  ok, why, code = state.remove(s)
  if not ok then return fail(code, why) end
  return 204, nil, dress()
end

return M
