--- Durable Streams: what a stream consists of, and where a fork parts from its source.
---
--- A fork is a topic whose source is the topic of another stream (topic:create, source): it reads the messages of its
--- source up to the position at which it parts, and then its own. The core keeps a source that is deleted until its
--- last fork is.
local protocol = require "routes.durable_streams.protocol"
local state = require "routes.durable_streams.state"

local M = {}

local COUNT <const> = 100000       -- messages of one read; the bytes bound it before

---@class lignum.StreamPiece
---@field s lignum.Stream
---@field from integer    positions [from, to)
---@field to integer

---The pieces of a stream from a position on, in order, as far as they have messages.
---@param s lignum.Stream
---@param v lignum.StreamState
---@param from integer
---@return lignum.StreamPiece[]? pieces
---@return string? message
---@return string? code
function M.pieces(s, v, from)
  local list, to = {}, s.base + v.data
  while true do
    if math.max(s.base, from) < to then
      table.insert(list, 1, { s = s, from = math.max(s.base, from), to = to })
    end
    local source = s.labels.from_topic
    if not source or s.base <= from then return list end
    to = math.min(to, s.base)
    local parent, why, code = state.open(source)
    if not parent then return nil, why or "the source of the stream is not here", code or "unavailable" end
    s = parent
  end
end

local function read(piece, bytes, limit)
  local base = piece.s.base
  return piece.s.topic:read { from = piece.from - base, to = piece.to - base, limit = limit or COUNT, bytes = bytes }
end

---@class lignum.StreamRead
---@field batch lignum.Batch?   all of it; or:
---@field text string?          rendered
---@field count integer
---@field position integer      after it
---@field epoch integer         of its last message

-- Several pieces as one text.
local function join(s, list, r, bytes)
  local form, parts = s.json and "array" or "bytes", {}
  local size = 0
  for _, piece in ipairs(list) do
    repeat
      local batch, why, code = read(piece, bytes)
      if not batch then return nil, why, code end
      if #batch == 0 then break end
      local text = batch:render(form)
      parts[#parts + 1] = s.json and text:sub(2, -2) or text
      r.count, size = r.count + #batch, size + #text
      r.position, r.epoch = piece.s.base + batch.next, batch.epoch
      piece.from = r.position
    until size >= bytes or piece.from >= piece.to
    if piece.from < piece.to then break end
  end
  r.text = s.json and "[" .. table.concat(parts, ",") .. "]" or table.concat(parts)
  return r
end

---The messages of a stream from a position on, about `bytes` of them.
---@param s lignum.Stream
---@param v lignum.StreamState
---@param from integer
---@param epoch integer
---@param bytes integer
---@return lignum.StreamRead? read
---@return string? message
---@return string? code
function M.read(s, v, from, epoch, bytes)
  local list, why, code = M.pieces(s, v, from)
  if not list then return nil, why, code end
  local r = { count = 0, position = from, epoch = epoch }
  if #list ~= 1 then return join(s, list, r, bytes) end
  local piece = list[1]
  r.batch, why, code = read(piece, bytes)
  if not r.batch then return nil, why, code end
  r.count = #r.batch
  if r.count > 0 then r.position, r.epoch = piece.s.base + r.batch.next, r.batch.epoch end
  return r
end

-- The position `sub` messages of a JSON stream after one.
local function advance(s, v, position, epoch, sub)
  local list, why, code = M.pieces(s, v, position)
  if not list then return nil, why, code end
  for _, piece in ipairs(list) do
    while sub > 0 and piece.from < piece.to do
      local batch
      batch, why, code = read(piece, protocol.CHUNK, sub)
      if not batch then return nil, why, code end
      if #batch == 0 then break end
      sub = sub - #batch
      position, epoch = piece.s.base + batch.next, batch.epoch
      piece.from = position
    end
  end
  if sub > 0 then return nil, "Stream-Fork-Sub-Offset goes past the end of the source", "bad_value" end
  return position, epoch
end

---Where a fork parts from its source.
---@param s lignum.Stream          the source
---@param v lignum.StreamState
---@param offset? string           Stream-Fork-Offset; nil: at its end
---@param sub integer              Stream-Fork-Sub-Offset
---@return integer? position
---@return integer|string epoch    or the problem
---@return string? extra           bytes of the source's next message that the fork has, too; or the code
function M.parting(s, v, offset, sub)
  local epoch, position = protocol.parse_token(offset or v.tail)
  if not epoch then return nil, "Stream-Fork-Offset is malformed", "bad_value" end
  if v.tail < (offset or v.tail) then
    return nil, "Stream-Fork-Offset is beyond the end of the source", "bad_value"
  end
  if sub == 0 then return position, epoch end
  if s.json then return advance(s, v, position, epoch, sub) end
  local list, why, code = M.pieces(s, v, position)
  if not list then return nil, why, code end
  local batch = list[1] and read(list[1], 1, 1)
  local bytes = batch and batch[1] and batch[1].payload
  if not bytes or #bytes < sub then
    return nil, "Stream-Fork-Sub-Offset goes past the next message of the source", "bad_value"
  end
  return position, epoch, bytes:sub(1, sub)
end

return M
