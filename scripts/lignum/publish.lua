--- Publishing for a client: calls the hook on_publish, then appends to the topic.
local core = require "lignum.core"
local hooks = require "lignum.hooks"
local http = require "lignum.http"
local policy = require "lignum.policy"

local topic = core.topic
local append_to, receipt = core.Topic.append, core.Topic.receipt
local publish = core.Request.publish
local byte = string.byte

local M = {}

local UNDERSCORE <const> = byte("_")

local on_publish     ---@type fun(msg: lignum.Message): table?   the operator's hook, if defined

local Refusal = {}

---Reads the hook `on_publish` that lignum.lua has defined.
function M.seal()
  on_publish = hooks.get("on_publish")
end

---Makes the value that on_publish returns to reject a message.
---@param why string
---@param code? string
---@return table refusal
function M.reject(why, code)
  if type(why) ~= "string" then error("reject(why [, code]): why must be a string", 2) end
  if code ~= nil and not core.errors[code] then error("reject: there is no error code " .. tostring(code), 2) end
  return setmetatable({ why = why, code = code or "rejected" }, Refusal)
end

local function complain(what)
  hooks.complain("on_publish", what)
end

local function check_field(value, name, kind)
  if type(value) ~= kind then complain(("set msg.%s to a %s; it must be a %s"):format(name, type(value), kind)) end
end

-- Checks a message that the hook has seen, and what the hook has returned. Returns the topic to append to, or nil and
-- the refusal.
local function judge(message, refusal)
  if refusal ~= nil then
    if getmetatable(refusal) == Refusal then return nil, refusal end
    complain("must return nothing or reject(...), not a " .. type(refusal))
  end
  local to, headers = message.topic, message.headers
  message.topic = nil
  check_field(message.payload, "payload", "string")
  check_field(to, "topic", "string")
  if message.key ~= nil then check_field(message.key, "key", "string") end
  if headers == nil then return to end
  check_field(headers, "headers", "table")
  for header, value in pairs(headers) do
    if type(header) ~= "string" or type(value) ~= "string" then
      complain("set msg.headers to a table that holds something else than strings")
    end
  end
  return to
end

-- Shows all messages to the hook. Returns the topic to append to, or nil, the refusal and the index of its message.
local function ask_all(messages, name)
  for i = 1, #messages do
    local message = messages[i]
    core.where("on_publish")
    message.topic = name
    message.headers = message.headers or {}
    local to, refusal = judge(message, on_publish(message))
    if not to then
      core.where(nil)
      return nil, refusal, i
    end
    if to ~= name then
      if #messages > 1 then complain("set msg.topic in a batch; only a single message can be rerouted") end
      name = to
    end
  end
  core.where(nil)
  return name
end

local function append(name, what, options)
  if byte(name) == UNDERSCORE then return nil, "topics that begin with _ are reserved for the broker", "forbidden" end
  local t = topic(name)
  local first, count, epoch, more = append_to(t, what, options)
  if not first then return nil, count, epoch, more end
  return first, count, epoch, t, more
end

---How a topic has acknowledged the messages of a request.
---@param t lignum.Topic
---@param next integer?  the offset after the last message
---@param req lignum.Request
---@return string? durability     nil: the topic was deleted
---@return string committed        or the problem
---@return integer|string copies   or the code
function M.acknowledged(t, next, req)
  return t:acknowledges(next, req:header("lignum-ack"))
end

---The answer to a failed publish. With any code but unknown_outcome nothing was appended, and nothing will be.
---@param code string
---@param why string
---@param more? table   further members of the problem, as topic:append returns them
---@return integer status
---@return table body
---@return table headers
function M.fail(code, why, more)
  if code ~= "unknown_outcome" then
    more = more or {}
    more.appended = false
  end
  return http.fail(code, why, more)
end

---Appends messages for a request, after on_publish has seen them.
---@param name string                 the topic
---@param messages lignum.Message[]
---@param req lignum.Request
---@return integer|true|nil first      as from topic:append
---@return integer|string count       or the problem
---@return integer|string epoch       or the code
---@return lignum.Topic|table|nil topic   the topic appended to; or further members of the problem
---@return table? more             as the last result of topic:append
function M.messages(name, messages, req)
  if on_publish then
    local to, refusal, at = ask_all(messages, name)
    if not to then
      local why = #messages > 1 and ("message %d: %s"):format(at, refusal.why) or refusal.why
      return nil, why, refusal.code
    end
    name = to
  end
  return append(name, messages, { request = req })
end

---The receipt for the messages of a request.
---@param req lignum.Request
---@param first integer|true|nil   the results of M.messages, also those of a failure
---@param count integer|string
---@param epoch integer|string
---@param t lignum.Topic|table|nil   the topic appended to, or further members of the problem
---@param more table?
---@return string? receipt
---@return string? message
---@return string? code
---@return table? more
function M.receipt(req, first, count, epoch, t, more)
  if not first then return nil, count, epoch, t end
  return receipt(t, first, count, epoch, req:header("lignum-ack"), more and more.duplicate)
end

-- Publishes a message that on_publish has changed, rejected or rerouted.
local function publish_changed(req, message, refusal)
  local to
  to, refusal = judge(message, refusal)
  core.where(nil)
  if not to then return nil, refusal.why, refusal.code end
  return M.receipt(req, append(to, message, { request = req }))
end

---Appends the body of a request without unpacking it in Lua, if that is possible: the body is not JSON, and when
---on_publish is defined, it is one message with nothing but a payload.
---@param req lignum.Request
---@param name string   the topic
---@return string|false|nil receipt   false: it is not possible; nothing has been done
---@return string? message
---@return string? code
---@return table? more
function M.request(req, name)
  local done, why, code, more = publish(req, name, on_publish)
  if done == false and why then return publish_changed(req, why, code) end
  if code ~= "unknown_topic" then return done, why, code, more end
  local ok
  ok, why, code = policy.create(name)
  if not ok then return nil, why, code end
  return publish(req, name)     -- on_publish has already seen it
end

return M
