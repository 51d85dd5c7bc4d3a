--- The canary: another version of lignum.lua judges a share of the live messages beside this one, whose decisions stand
--- (core/script/std/canary.h).
local core = require "lignum.core"
local modules = require "lignum.modules"
local publish = require "lignum.publish"

local M = {}

local LOAD <const>, PAUSE <const> = 10, 0.02       -- seconds for lignum.lua to be loaded; between two looks

local share, due = 0, 0      -- of the messages; what has added up for the next one

-- What the live hook has decided: where the message goes, and as what; or why it is rejected.
local function decision_of(msg, result)
  local refusal = core.refusal()
  if refusal ~= nil then core.refuse(refusal) else refusal = result end
  if type(refusal) == "table" then return { why = tostring(refusal.why), code = tostring(refusal.code) } end
  return { topic = msg.topic, payload = msg.payload, key = msg.key, headers = msg.headers }
end

local function watch(hook, msg, ctx)
  due = due + share
  if due < 1 then return hook and hook(msg, ctx) end
  due = due - 1
  local copy = { payload = msg.payload, key = msg.key, headers = msg.headers and modules.copy(msg.headers) }
  local name = msg.topic
  local result = hook and hook(msg, ctx)
  if not core.canary_show(name, copy, decision_of(msg, result)) then publish.watch(nil) end
  return result
end

---Begins with a share of the messages, from 0 to 1, once lignum.lua has been loaded again.
---@param part number
---@return true? on
---@return string? message
---@return string? code
function M.begin(part)
  core.canary_begin()
  local until_then = core.time.clock() + LOAD
  while core.canary_state() == "loading" do
    if core.time.clock() > until_then then
      core.canary_end()
      return nil, "lignum.lua is not loaded in time", "timeout"
    end
    core.sleep(PAUSE)
  end
  local state, why = core.canary_state()
  if state ~= "on" then
    core.canary_end()
    return nil, why, "bad_value"
  end
  share, due = part, 0
  publish.watch(watch)
  return true
end

---Ends it.
---@return boolean was   there was one
function M.abort()
  local was = core.canary_state() ~= "off"
  publish.watch(nil)
  core.canary_end()
  return was
end

---@return table report   state, share, and what was compared
function M.report()
  local state, why = core.canary_state()
  local report = core.canary_report() or {}
  report.state, report.share, report.why = state, state ~= "off" and share or nil, why ~= "" and why or nil
  return report
end

return M
