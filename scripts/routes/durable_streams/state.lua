--- Durable Streams: what is known of a stream, and appending to it.
---
--- A stream is a topic. What was said at its creation is in the topic's labels, which never change: content type, times
--- to live, and for a fork where it parts from its source. All else follows from the log: each message is one message
--- of the stream, the last one may be a bare record that closes it, and its headers say what the state is after it:
---
---     stream-closed   true: the stream is closed; bare: so, and this message is no message of the stream
---     stream-closer   the producer's tuple that closed it
---     stream-tail     of a bare message: the offset after the last message of the stream
---     stream-seq      the last Stream-Seq
---
--- So a state is read from one message, the last one, on any node. Producers are those of the topic.
---
--- Where this node leads, the state at the tail decides what may be appended. An append says where it expects the tail
--- (topic:append, expect), so it fails when another task, or a task of a configuration that is being replaced, came
--- first; then its request starts again. Nothing is locked.
---
--- A stream that is created with messages is two records, one in _topics and one in its topic. Until the second is
--- there (label `initial`), the stream does not exist for clients. A repeated PUT appends the second record.
local access = require "routes.durable_streams.access"
local core = require "lignum.core"
local protocol = require "routes.durable_streams.protocol"
local published = require "lignum.published"

local topic, clock, token = core.topic, core.time.clock, protocol.token
local append_raw, append_body, header = core.append, core.Request.append, core.Request.header
local epoch_of_node = core.node.epoch

local M = {
  on_removed = function(_) end,          ---@type fun(s: lignum.Stream)   called for each stream that is deleted
}

local STREAMS_KNOWN <const> = 20000      -- states kept; beyond that all are dropped and read again
local SWEPT <const> = 500                -- streams looked at between two waits
local SWEPT_MOST <const> = 20000         -- and in one sweep: with a million of them it must end before the next
local PATIENCE <const> = 10              -- seconds in which what is on its way has to be acknowledged

---@class lignum.Stream
---@field name string        of the topic
---@field topic lignum.Topic
---@field id string
---@field type string        content type
---@field media string
---@field json boolean
---@field labels table<string, string>
---@field base integer       the position of its topic's offset 0
---@field base_epoch integer
---@field gone boolean
---@field view lignum.StreamState?   of what is readable, as last looked at
---@field head lignum.StreamState?   at the tail, as last appended here
---@field plain integer?     the tail, if messages have been appended after `head` that change nothing else
---@field form "json"|"bytes"
---@field number integer     the second part of `id`
---@field simple boolean     it has no time to live

---@class lignum.StreamState
---@field at integer         the offset after the last message
---@field cuts integer       of the topic, then
---@field epoch integer      of the last message
---@field data integer       the offset after the last message that is one of the stream
---@field tail string        the offset that clients see
---@field closed boolean
---@field closer string?
---@field seq string?
---@field time number?       of the last message

local known, count = {}, 0               -- [name] = lignum.Stream

local function remember(name, id, t)
  local labels = t:labels()
  if not labels then return nil end
  local s = {
    name = name, topic = t, id = id, labels = labels, type = labels.type, media = protocol.media(labels.type),
    base = math.tointeger(tonumber(labels.fork or 0)), base_epoch = math.tointeger(tonumber(labels.fork_epoch or 0)),
  }
  s.json = s.media == "application/json"
  s.form, s.number = s.json and "json" or "bytes", math.tointeger(tonumber(id:match(":(%d+)$")))
  s.simple = not labels.ttl and not labels.expires
  if count >= STREAMS_KNOWN then known, count = {}, 0 end
  if not known[name] then count = count + 1 end
  known[name] = s
  return s
end

local function empty(s, cuts)
  return { at = 0, cuts = cuts, epoch = 0, data = 0, tail = token(s.base_epoch, s.base), closed = false }
end

-- The state after the message m at offset next - 1.
local function state_after(s, m, next, cuts)
  local h = m.headers or {}
  local bare = h["stream-closed"] == "bare"
  return {
    at = next, cuts = cuts, epoch = m.epoch, data = bare and next - 1 or next, time = m.time,
    tail = h["stream-tail"] or token(m.epoch, s.base + next), closed = h["stream-closed"] ~= nil,
    closer = h["stream-closer"], seq = h["stream-seq"],
  }
end

-- The state at the tail, as last appended here.
local function head_of(s)
  local at, h = s.plain, s.head
  if not at then return h end
  s.head, s.plain = {
    at = at, cuts = h.cuts, epoch = h.led, led = h.led, data = at, time = core.now(), tail = token(h.led, s.base + at),
    closed = false,
  }, nil
  return s.head
end

-- The state of what is readable.
local function look(s, next, cuts)
  local v, head = s.view, head_of(s)
  if v and v.at == next and v.cuts == cuts then return v end
  if head and head.at == next and head.cuts == cuts and head.led == core.node.epoch() then
    v = head
  elseif next == 0 then
    v = empty(s, cuts)
  else
    local batch, why, code = s.topic:read { from = next - 1, to = next, limit = 1 }
    if not batch then return nil, why, code end
    if not batch[1] then return nil, "the last message cannot be read yet", "unavailable" end
    v = state_after(s, batch[1], next, cuts)
  end
  s.view = v
  return v
end

---A stream and the state of what is readable of it. It may be deleted, expired, or lack its first messages.
---@param name string
---@return lignum.Stream? stream
---@return lignum.StreamState|string|nil state
---@return integer|string|nil tail
function M.open(name)
  local t = known[name] and known[name].topic or topic(name, true)
  local next, tail, _, id, gone, cuts = t:place()
  if not next then
    if known[name] then known[name], count = nil, count - 1 end
    return nil, tail, _
  end
  local s = known[name]
  if not s or s.id ~= id then s = remember(name, id, t) end
  if not s or not s.type then return nil, nil, "unknown_topic" end
  s.gone = gone
  local v, why, code = look(s, next, cuts)
  if not v then return nil, why, code end
  return s, v, tail, cuts
end

---Deletes a stream. Its forks keep what they have of it.
---@param s lignum.Stream
---@return boolean? ok
---@return string? message
---@return string? code
function M.remove(s)
  local ok, why, code = s.topic:delete()
  if ok then
    access.forget(s.id)
    M.on_removed(s)
  end
  return ok, why, code
end

---Whether a stream was created with messages that are not there yet.
---@param s lignum.Stream
---@param v lignum.StreamState
---@return boolean
function M.is_unfinished(s, v)
  return s.labels.initial ~= nil and v.at == 0
end

-- The state at the tail. It is known when all messages are acknowledged, or when this node has appended the last one.
local function at_tail(s, v, tail, cuts)
  local head = head_of(s)
  if head and head.at == tail and head.cuts == cuts and head.led == core.node.epoch() then return head end
  return v.at == tail and v or nil
end

---A stream that clients may use, and the state of what is readable. One that has expired is deleted.
---@param name string
---@return lignum.Stream? stream
---@return lignum.StreamState|string|nil state   or the problem
---@return string|lignum.StreamState|nil code     or the state at the tail, if that is known
function M.usable(name)
  local s, v, code, cuts = M.open(name)
  if not s then return nil, v, code end
  if s.gone then return nil, nil, "stream_gone" end
  if M.is_unfinished(s, v) then return nil, nil, "unknown_topic" end
  if not access.is_over(s, v) then return s, v, at_tail(s, v, code, cuts) end
  if core.cluster.follows() then return nil, "the stream has expired", "unknown_stream" end
  local ok, why
  ok, why, code = M.remove(s)
  if not ok and code ~= "unknown_topic" then return nil, why, code end
  local still = M.open(name)
  return nil, "the stream has expired", still and still.gone and "stream_gone" or "unknown_stream"
end

local function has_time_to_live(name)
  local labels = topic(name, true):labels()
  return labels and (labels.ttl or labels.expires)
end

local swept                              -- the name after which the next sweep goes on

---Deletes the streams that have expired. Nobody reads them, so no read does it. It looks at SWEPT_MOST streams, and the
---next one at those after them.
function M.sweep()
  local looked = 0
  repeat
    local names
    names, swept = core.topic_names(protocol.TOPICS .. "*", SWEPT, swept)
    for _, name in ipairs(names) do
      if has_time_to_live(name) then M.usable(name) end
    end
    looked = looked + #names
    core.sleep(0)
  until not swept or looked >= SWEPT_MOST
end

---The state at the tail, after which this node may append. Waits for messages that are not acknowledged yet, unless
---this node has appended the last one.
---@param name string
---@return lignum.Stream? stream
---@return lignum.StreamState|string|nil state   or the problem
---@return string? code
function M.writer(name)
  local deadline = clock() + PATIENCE
  while true do
    local s, v, tail, cuts = M.open(name)
    if not s then return nil, v, tail end
    local w = at_tail(s, v, tail, cuts)
    if w then return s, w end
    local left = deadline - clock()
    if left <= 0 then return nil, "what was appended last is not acknowledged yet", "unavailable" end
    local ok, why, code = s.topic:wait(tail - 1, left)
    if not ok and code ~= "timeout" then return nil, why, code end
  end
end

---Appends messages after a state. `records` are data but for a single record with `bare`.
---@param s lignum.Stream
---@param w lignum.StreamState
---@param records (string|lignum.Message)[]
---@param to { closed: boolean, closer?: string, seq?: string, bare?: boolean }   the state after them
---@param req lignum.Request
---@return lignum.StreamState|boolean|nil state   false: a duplicate of a producer's request
---@return string? message
---@return string? code
---@return table? more
function M.append(s, w, records, to, req)
  local epoch, at = core.node.epoch(), w.at + #records
  local n = {
    at = at, cuts = w.cuts, epoch = epoch, led = epoch, data = to.bare and w.at or at, time = core.now(),
    tail = to.bare and w.tail or token(epoch, s.base + at), closed = to.closed, closer = to.closer,
    seq = to.seq or w.seq,
  }
  if n.closed or n.seq then
    local last = records[#records]
    if type(last) == "string" then last = { payload = last } end
    local h = last.headers or {}
    h["stream-closed"] = n.closed and (to.bare and "bare" or "true") or nil
    h["stream-closer"], h["stream-seq"], h["stream-tail"] = n.closer, n.seq, to.bare and n.tail or nil
    last.headers, records[#records] = h, last
  end
  s.head, s.plain = n, nil
  local expect = w.at == 0 and "0:0" or ("%d:%d"):format(w.epoch, w.at)
  local first, why, code, more = append_raw(s.topic, records, { request = req, expect = expect })
  if first and not (more and more.duplicate) then
    if published.wanted and not to.bare then published.tell(s.name, records, first, code, req) end
    return n
  end
  if s.head == n then s.head, s.plain = nil, nil end
  if first then return false end
  return nil, why, code, more
end

---Appends the body of a request as one message of a stream, if nothing has to be decided for it: the way of most
---appends. That is so where this node has appended last, the stream is open, has no time to live and no Stream-Seq, and
---the request says nothing but the type.
---@param req lignum.Request
---@param name string
---@param touched fun(path: string)   called once it is acknowledged
---@return string|false|nil offset   after it; false: nothing was done
---@return string? message
---@return string? code
function M.append_plain(req, name, touched)
  local s = known[name]
  local h = s and s.simple and s.head
  if not h or h.closed or h.seq or h.led ~= epoch_of_node() then return false end
  local kind, closing, seq = header(req, "content-type", "stream-closed", "stream-seq")
  if kind ~= s.type or closing or seq then return false end
  local plain, epoch = s.plain, s.plain and h.led or h.epoch
  local at = plain or h.at
  s.plain = at + 1
  local first, why, code = append_body(req, s.topic, s.form, epoch, at, s.number)
  if first then
    touched(s.labels.path)
    return token(h.led, s.base + at + 1)
  end
  if first == false then
    s.plain = plain                        -- append_body has not waited, so no other task has seen the change
    return false
  end
  if s.head == h then s.head, s.plain = nil, nil end
  if code ~= "unknown_outcome" then return false end
  return nil, why, code
end

---Waits until all that is appended can be read.
---@param s lignum.Stream
---@param w lignum.StreamState
---@return boolean? ok
---@return string? message
---@return string? code
function M.settle(s, w)
  if w.at == 0 then return true end
  return s.topic:wait(w.at - 1, PATIENCE)
end

return M
