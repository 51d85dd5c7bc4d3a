--- Publishing in a client's name: the operator's on_publish, then the log.
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

local on_publish     ---@type fun(msg: lignum.Message): table?   the operator's hook, if there is one

local Refusal = {}

---Takes the hook that lignum.lua has defined.
function M.seal()
  on_publish = hooks.get("on_publish")
end

---What on_publish returns to refuse a message.
---@param why string
---@param code? string
---@return table refusal
function M.reject(why, code)
  if type(why) ~= "string" then error("reject(why [, code]) wants a sentence", 2) end
  if code ~= nil and not core.errors[code] then error("reject: there is no error code " .. tostring(code), 2) end
  return setmetatable({ why = why, code = code or "rejected" }, Refusal)
end

local function complain(what)
  hooks.complain("on_publish", what)
end

local function check_text(value, name)
  if type(value) ~= "string" then complain(("left a %s in msg.%s, which must be text"):format(type(value), name)) end
end

local function check_headers(headers)
  if headers == nil then return end
  if type(headers) ~= "table" then complain("left a " .. type(headers) .. " in msg.headers, which must be a table") end
  for name, value in pairs(headers) do
    if type(name) ~= "string" or type(value) ~= "string" then complain("left what is not text in msg.headers") end
  end
end

-- What the hook has made of a message; the topic it shall go to, or nil and the refusal.
local function judge(message, refusal)
  if refusal ~= nil then
    if getmetatable(refusal) == Refusal then return nil, refusal end
    complain("must return nothing or reject(...), not a " .. type(refusal))
  end
  local to = message.topic
  message.topic = nil
  check_text(message.payload, "payload")
  check_text(to, "topic")
  if message.key ~= nil then check_text(message.key, "key") end
  check_headers(message.headers)
  return to
end

-- Shows one message to the hook; the same results.
local function ask(message, name)
  message.topic = name
  message.headers = message.headers or {}
  return judge(message, on_publish(message))
end

-- Shows all of them; the same results.
local function ask_all(messages, name)
  core.where("on_publish")
  for i = 1, #messages do
    local to, refusal = ask(messages[i], name)
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
  if byte(name) == UNDERSCORE then return nil, "topics that begin with _ are the broker's own", "forbidden" end
  local t = topic(name)
  local first, count, epoch = append_to(t, what, options)
  return first, count, epoch, t
end

---How a topic has acknowledged what a request published.
---@param t lignum.Topic
---@param next integer   the offset after it
---@param req lignum.Request
---@return string? durability     nil: the topic is gone again
---@return string committed        or what is wrong
---@return integer|string copies   or the code
function M.acknowledged(t, next, req)
  return t:acknowledges(next, req:header("lignum-ack"))
end

---The answer to a publish that failed. Whatever is not said to be unknown has not been appended and
---never will be.
---@param code string
---@param why string
---@return integer status
---@return table body
---@return table headers
function M.fail(code, why)
  local more = {}
  if code ~= "unknown_outcome" then more.appended = false end
  if code == "too_large" then more.limit = tonumber(why:match("limit of (%d+)")) end   -- as the core says it
  return http.fail(code, why, more)
end

---Appends messages in a request's name, after on_publish has seen them.
---@param name string                 the topic
---@param messages lignum.Message[]
---@param req lignum.Request
---@return integer? first
---@return integer|string count       or what is wrong
---@return integer|string epoch       or the code
---@return lignum.Topic? topic        that they went to
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

---The receipt of what has been appended in a request's name.
---@param req lignum.Request
---@param first integer?          as M.messages returned them, a failure too
---@param count integer|string
---@param epoch integer|string
---@param t lignum.Topic?         that it went to
---@return string? receipt
---@return string? message
---@return string? code
function M.receipt(req, first, count, epoch, t)
  if not first then return nil, count, epoch end
  return receipt(t, first, count, epoch, req:header("lignum-ack"))
end

-- What the hook has changed, refused or sent elsewhere.
local function publish_changed(req, message, refusal)
  local to
  to, refusal = judge(message, refusal)
  core.where(nil)
  if not to then return nil, refusal.why, refusal.code end
  return M.receipt(req, append(to, message, { request = req }))
end

---Appends what a request carries as its body, when the core understands it as it came and on_publish, where there is
---one, need not see it message by message.
---@param req lignum.Request
---@param name string   the topic
---@return string|false|nil receipt   false: it is not of that kind, and nothing has been done
---@return string? message
---@return string? code
function M.request(req, name)
  local done, why, code = publish(req, name, on_publish)
  if done == false and why then return publish_changed(req, why, code) end
  if code ~= "unknown_topic" then return done, why, code end
  local ok
  ok, why, code = policy.create(name)
  if not ok then return nil, why, code end
  return publish(req, name)     -- on_publish has seen it
end

return M
