--- A client of Lignum over HTTP: publish, read, tail.
---
---     local lignum = require "lignum_client"
---     local log = lignum.connect "http://127.0.0.1:8080"
---     log:publish("orders", "hello")
---     for message in log:tail "orders" do print(message.offset, message.payload) end
---
--- A call that fails returns nil, a message and the broker's error code ("unreachable" when there was no answer).
local http = require "socket.http"
local json = require "dkjson"
local ltn12 = require "ltn12"
local mime = require "mime"
local url = require "socket.url"

local M = {}

M.VERSION = "0.1.0"

---@class lignum.Client
---@field base string
---@field headers table<string, string>   sent with every request
---@field timeout number                  seconds to wait for data
local Client = {}
Client.__index = Client

---@param base string  "http://127.0.0.1:8080"
---@param options? { headers?: table<string, string>, timeout?: number }
---@return lignum.Client
---@example local log = lignum.connect("http://127.0.0.1:8080", { headers = { Authorization = "Bearer x" } })
function M.connect(base, options)
  options = options or {}
  return setmetatable({
    base = base:gsub("/+$", ""),
    headers = options.headers or {},
    timeout = options.timeout or 75,
  }, Client)
end

local function headers_with(own, more, body)
  local all = { ["content-length"] = body and tostring(#body) or nil }
  for name, value in pairs(own) do all[name:lower()] = value end
  for name, value in pairs(more or {}) do all[name:lower()] = value end
  return all
end

-- Sends a request. Returns the decoded answer, or nil, a message and a code.
local function call(client, method, path, body, headers)
  local parts = {}
  http.TIMEOUT = client.timeout
  local ok, status = http.request {
    url = client.base .. path,
    method = method,
    headers = headers_with(client.headers, headers, body),
    source = body and ltn12.source.string(body),
    sink = ltn12.sink.table(parts),
  }
  if not ok then return nil, tostring(status), "unreachable" end
  local answer, _, problem = json.decode(table.concat(parts))
  if status >= 200 and status < 300 then
    if problem then return nil, problem, "bad_json" end
    return answer
  end
  answer = type(answer) == "table" and answer or {}
  return nil, answer.detail or ("status %d"):format(status), answer.code or "status_" .. status
end

-- Publish ----------------------------------------------------------------------------------------

local function envelope(message)
  if type(message) == "string" then message = { payload = message } end
  if type(message.payload) ~= "string" then error("a message must be a string or a table with a string payload", 3) end
  local out = { key = message.key, headers = message.headers }
  if utf8.len(message.payload) then
    out.data = message.payload
  else
    out.base64 = mime.b64(message.payload)
  end
  return out
end

local function path_of(topic, query)
  local path = "/v1/topics/" .. url.escape(topic) .. "/messages"
  local parts = {}
  for name, value in pairs(query or {}) do
    parts[#parts + 1] = name .. "=" .. url.escape(tostring(value))
  end
  table.sort(parts)
  return #parts > 0 and path .. "?" .. table.concat(parts, "&") or path
end

---Appends a message, or a list of messages as one batch. Returns when the broker has acknowledged it.
---@param topic string
---@param what string|table|(string|table)[]  a payload, { payload =, key =, headers = }, or a list of these
---@return integer? first   offset of the first message
---@return string|table answer   the broker's answer; or the message of the error
---@return string? code
---@example log:publish("orders", { payload = "hello", key = "42" })
function Client:publish(topic, what)
  local answer, why, code
  if type(what) == "string" then
    answer, why, code = call(self, "POST", path_of(topic), what,
      { ["content-type"] = "application/octet-stream" })
  else
    local list = what.payload and { what } or what
    local envelopes = {}
    for i, message in ipairs(list) do envelopes[i] = envelope(message) end
    answer, why, code = call(self, "POST", path_of(topic), json.encode(envelopes),
      { ["content-type"] = "application/json" })
  end
  if not answer then return nil, why, code end
  return answer.first, answer
end

-- Read -------------------------------------------------------------------------------------------

local function message_of(stored)
  return {
    offset = stored.offset, epoch = stored.epoch, time = stored.time, key = stored.key, headers = stored.headers,
    payload = stored.data or mime.unb64(stored.base64 or "") or "",
  }
end

---Reads a range of messages.
---@param topic string
---@param range? { from?: integer|string, to?: integer|string, limit?: integer, bytes?: integer, wait?: number }
---@return table[]? messages  each with offset, epoch, time, key, headers, payload
---@return integer|string next  the offset at which to continue; or the message of the error
---@return string? code
---@example local messages, next = log:read("orders", { from = "-15m", limit = 10 })
function Client:read(topic, range)
  local answer, why, code = call(self, "GET", path_of(topic, range))
  if not answer then return nil, why, code end
  local messages = {}
  for i, stored in ipairs(answer.messages) do messages[i] = message_of(stored) end
  return messages, answer.next
end

---Iterates over messages, and waits for new ones. Raises an error when a read fails; reading can continue after the
---last message returned.
---@param topic string
---@param options? { from?: integer|string, limit?: integer, wait?: number }  default: from "latest", wait 30 s
---@return fun(): table iterator
---@example for m in log:tail("orders", { from = "earliest" }) do print(m.payload) end
function Client:tail(topic, options)
  options = options or {}
  local from, messages, at = options.from or "latest", {}, 0
  local range = { limit = options.limit or 100, wait = options.wait or 30 }
  return function()
    while at == #messages do
      range.from = from
      local list, next_offset, code = self:read(topic, range)
      if not list then error(("%s: %s (%s)"):format(topic, next_offset, code), 2) end
      messages, at, from = list, 0, next_offset
    end
    at = at + 1
    return messages[at]
  end
end

return M
