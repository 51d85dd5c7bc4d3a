--- Parses the query of a read: from, to, limit, bytes, wait and min_offset; and reads.
---
--- An offset may be written as a number, as a token `epoch:offset:topic` (next_token, or the header
--- Lignum-Next-Offset; its last part may be left out), as `earliest` or `latest`, or as a time: RFC 3339, or `-15m`
--- for 15 minutes ago (s, m, h, d).
local core = require "lignum.core"
local http = require "lignum.http"

local limits = core.limits
local M = {}

local SECONDS = { s = 1, m = 60, h = 3600, d = 86400 }
local OFFSET_LAST <const> = limits.json_integer_max
local WAIT_MAX <const> = limits.wait_ms_max / 1000
local MIN_OFFSET_WAIT <const> = 5     -- seconds to wait for min_offset when the query has no `wait`
local LOOK <const> = 0.5              -- seconds of one read in which a filter is applied, waits not counted
local POLL <const> = 0.02             -- seconds between two checks of what has no mark to wait for

---The parameters of a read, for http.query, besides header.NAME. The last four are those of routes/message.lua.
M.PARAMETERS = {
  from = true, to = true, limit = true, bytes = true, wait = true, min_offset = true, raw = true,
  json = true, last_event_id = true, key = true,
}

local function position_of(digits)
  local position = #digits <= limits.offset_digits_max and math.tointeger(tonumber(digits))
  return position and position <= OFFSET_LAST and position or nil
end

---Parses a token `epoch:offset:topic`, or `epoch:offset`; nil when the text is not one.
---@param text string
---@return integer? epoch
---@return integer? offset
---@return integer? topic     the offset of the topic's create record in _topics; nil: not given
function M.token(text)
  local epoch, offset, topic = text:match("^(%d+):(%d+):?(%d*)$")
  if not epoch or #epoch > limits.epoch_digits_max or topic == "" and text:find(":$") then return nil end
  local position, id = position_of(offset), topic ~= "" and position_of(topic) or nil
  if not position or topic ~= "" and not id then return nil end
  return math.tointeger(tonumber(epoch)), position, id
end

---Finds a topic of which the client has a token. This node may not know it yet: then waits for it.
---@param t lignum.Topic
---@param query table<string, string>
---@return lignum.TopicInfo? info
---@return string? problem
---@return string? code        unavailable: it may still come
function M.find(t, query)
  local info, why, code = t:info()
  local text = query.min_offset or query.from
  if info or code ~= "unknown_topic" or not text then return info, why, code end
  local epoch, offset, id = M.token(text)
  if not epoch and query.min_offset then epoch, offset = 0, position_of(text:match("^%d+$") or "x") end
  if not epoch or not offset then return nil, why, code end
  local wait = tonumber(query.wait) or query.min_offset and MIN_OFFSET_WAIT or 0
  local deadline = core.time.clock() + math.min(wait, WAIT_MAX)
  while true do
    local _, problem, kind = t:check(epoch, offset, id)
    if kind ~= "unavailable" then return t:info() end
    if core.time.clock() >= deadline then return nil, problem, kind end
    core.sleep(POLL)
  end
end

---Checks that the client's last message is still part of the topic's history: it may have been truncated while the
---client waited.
---@param t lignum.Topic
---@param epoch integer?   of the client's last message; nil: unknown
---@param from integer     the offset after it
---@param id integer?      the third part of the client's token
---@return boolean? ok
---@return string? problem
---@return string? code
---@return table? point    with log_truncated: { epoch =, offset = } up to which the histories agree
function M.check(t, epoch, from, id)
  if not epoch then return true end
  return t:check(epoch, from, id)
end

-- The time that a text stands for, in seconds since 1970; nil when it is none.
local function seconds_at(text, now)
  local n, unit = text:match("^%-(%d+)([smhd])$")
  if n and #n <= 10 then return now - tonumber(n) * SECONDS[unit] end
  return core.time.parse(text)
end

-- Whether the bounds are reversed whatever the log contains: two offsets, two times, or two words. Other pairs that are
-- reversed (a time between two messages, `latest` and a number) mean an empty range of this log.
local function is_reversed(from, to, asked)
  local function is_offset(text) return text:find("^[%d:]+$") ~= nil end
  if is_offset(from) and is_offset(to) then return asked.from >= asked.to end
  if from == "latest" and to == "earliest" then return true end
  local now = core.now()
  local first, last = seconds_at(from, now), seconds_at(to, now)
  return first ~= nil and last ~= nil and first >= last
end

local function offset_at_time(t, text, name)
  local seconds = seconds_at(text, core.now())
  if not seconds then
    return nil, ("%s must be an offset, a token, earliest, latest, a time such as "
      .. "2026-11-23T10:00:00Z, or -15m; not %s"):format(name, text), "bad_value"
  end
  return t:offset_at(math.max(seconds, 0))     -- no message is older than 1970
end

---The offset that a text stands for. A token of a truncated history fails with log_truncated and the point up to which
---the histories agree. A token past the end is accepted: this node may still receive its message.
---@param t lignum.Topic
---@param info lignum.TopicInfo
---@param text string
---@param name string     of the parameter, for the error
---@return integer? offset
---@return string? problem
---@return string? code
---@return table? point   with log_truncated: { epoch =, offset = }
function M.resolve(t, info, text, name)
  if text:find("^%d+$") then
    local n, why, code = http.integer(text, name, 0, OFFSET_LAST)
    if not n or name ~= "from" then return n, why, code end
    local ok
    ok, why, code = t:check(0, n)      -- of no epoch: whether the topic can reach that far
    return ok and n, why, code
  end
  if text == "earliest" then return info.first end
  if text == "latest" then return info.next end
  local epoch, offset, id = M.token(text)
  if not epoch then return offset_at_time(t, text, name) end
  local ok, why, code, point = t:check(epoch, offset, id)
  if not ok then return nil, why, code, point end
  return offset
end

---The offset of a place in a topic, as a member of a body names it: an offset, token, time, earliest or latest.
---@param t lignum.Topic
---@param text any
---@param name string     of the member, for the error
---@return integer? offset   not before the earliest one, nor beyond the end
---@return string? problem
---@return string? code
---@return table? point      with log_truncated: { epoch =, offset = }
function M.place(t, text, name)
  local info, why, code = t:info()
  if not info then return nil, why, code end
  if math.type(text) then text = ("%d"):format(math.tointeger(text) or -1) end
  if type(text) ~= "string" then
    return nil, name .. ' must be an offset, a token, a time, "earliest" or "latest"', "bad_value"
  end
  local offset, point
  offset, why, code, point = M.resolve(t, info, text, name)
  if not offset then return nil, why, code, point end
  if offset > info.next then
    return nil, ("%s: the next offset of the topic is %d"):format(name, info.next), "offset_beyond"
  end
  return math.max(offset, info.first)
end

local function seconds_of(text)
  if text == nil then return nil end
  local n = text:match("^%d+%.?%d*$") and tonumber(text)
  if not n or n > WAIT_MAX then
    return nil, ("wait must be 0 to %g seconds, not %s"):format(WAIT_MAX, text), "bad_value"
  end
  return n
end

-- Waits until the topic is readable up to min_offset, so that a client can read its own writes. With a token, the
-- message before it must be of its epoch: messages of an older epoch at these offsets are not the client's.
local function wait_for(t, info, text, wait)
  local deadline = core.time.clock() + (wait or MIN_OFFSET_WAIT)
  local epoch, offset, id = M.token(text)
  local there, why, code, point
  if not epoch then
    offset, why, code = http.integer(text, "min_offset", 0, OFFSET_LAST)
    if not offset then return nil, why, code end
  end
  if offset > info.next then
    there, why, code = t:wait(offset - 1, wait or MIN_OFFSET_WAIT)
    if not there and code ~= "timeout" then return nil, why, code end
    info = t:info() or info
  end
  while epoch do
    there, why, code, point = t:check(epoch, offset, id, offset <= info.next)
    if there then break end
    if code ~= "unavailable" or core.time.clock() >= deadline then return nil, why, code, point end
    core.sleep(POLL)
    info = t:info() or info
  end
  if offset <= info.next then return true end
  return nil, ("offset %d is not available yet; the next offset is %d"):format(offset, info.next), "unavailable"
end

---@class lignum.Asked
---@field from integer
---@field epoch integer?       of the message before `from`, when `from` is a token
---@field id integer?          the token's third part
---@field to integer?
---@field limit integer
---@field bytes integer
---@field wait number          seconds
---@field fixed boolean        `from` is a number or token, so the same query has the same meaning later

local function bounds(query)
  local limit, why, code = http.integer(query.limit, "limit", 1, limits.read_count_max)
  if why then return nil, why, code end
  local bytes
  bytes, why, code = http.integer(query.bytes, "bytes", 1, limits.read_size_max)
  if why then return nil, why, code end
  local wait
  wait, why, code = seconds_of(query.wait)
  if why then return nil, why, code end
  return { limit = limit or limits.read_count_default, bytes = bytes or limits.read_size_default, wait = wait }
end

---Converts a query to a range of a topic. Waits for min_offset.
---@param t lignum.Topic
---@param info lignum.TopicInfo
---@param query table<string, string>
---@return lignum.Asked? asked
---@return string? problem
---@return string? code
---@return table? point       with log_truncated: { epoch =, offset = }
function M.of(t, info, query)
  local asked, why, code = bounds(query)
  if not asked then return nil, why, code end
  local point
  if query.min_offset then
    local ok
    ok, why, code, point = wait_for(t, info, query.min_offset, asked.wait)
    if not ok then return nil, why, code, point end
    info = t:info() or info
  end
  asked.from, why, code, point = M.resolve(t, info, query.from or "earliest", "from")
  if not asked.from then return nil, why, code, point end
  if query.to then
    asked.to, why, code, point = M.resolve(t, info, query.to, "to")
    if not asked.to then return nil, why, code, point end
    if is_reversed(query.from or "earliest", query.to, asked) then
      return nil, ("from must be less than to: the range is [from, to), and this one is [%d, %d)"):format(asked.from,
        asked.to), "bad_range"
    end
    asked.to = math.max(asked.to, asked.from)
  end
  local _
  asked.epoch, _, asked.id = M.token(query.from or "")
  asked.wait = asked.wait or 0
  asked.fixed = query.from ~= nil and query.from:find("^[%d:]+$") ~= nil
  return asked
end

---Reads; when there is nothing and the query has `wait`, waits and reads again. With a filter there may be nothing in a
---part of the log; then the read goes on behind it.
---@param t lignum.Topic
---@param what lignum.ReadRange
---@param asked lignum.Asked
---@return lignum.Batch|lignum.Range|nil batch
---@return string? problem
---@return string? code
---@return table? point      with log_truncated: { epoch =, offset = }
function M.read(t, what, asked)
  local clock = core.time.clock
  local over, epoch, looked = clock() + asked.wait, asked.epoch, 0
  while true do
    local began = clock()
    local batch, why, code = t:read(what)
    local left = over - clock()
    looked = looked + clock() - began
    if not batch or left <= 0 or what.filter and looked > LOOK or batch.next == what.to then return batch, why, code end
    if batch.next > what.from then
      if not what.filter or #batch > 0 then return batch end
      what.from, what.epoch, epoch = batch.next, batch.epoch, batch.epoch
      core.sleep(0)
    else
      local there, ok, point
      there, why, code = t:wait(what.from, left)
      if not there and code ~= "timeout" and code ~= "cancelled" then return nil, why, code end
      ok, why, code, point = M.check(t, epoch, what.from, asked.id)
      if not ok then return nil, why, code, point end
      if not there then over = 0 end       -- answer with what has been read
    end
  end
end

return M
