--- An operator's world: lignum.lua, the routes, and the functions that C calls there (core/script/vm/vm.h). A reload
--- makes another one. The core's world is duties.lua.
local core = require "lignum.core"
require "lignum.group"                -- adds methods to topics
local leader = require "lignum.leader"
local methods = require "lignum.methods"
local modules = require "lignum.modules"

local M = {}

local live   ---@type lignum.World

-- The routes and lignum.lua share the metatable of strings.
getmetatable("").__metatable = "guarded"

-- `lignum check` runs lignum.lua to find its errors. Functions by which it could change anything outside of the process
-- do nothing then: they log that, and return nil, message, code.
local function disable(unsafe)
  for name in pairs(unsafe) do
    unsafe[name] = function()
      local why = ("unsafe.%s does nothing in `lignum check`"):format(name)
      core.say.warn(("%s: %s"):format(core.caller(2), why))
      return nil, why, "forbidden"
    end
  end
end

---Loads lignum.lua. On failure it raises an error with one problem per line.
---@param options { config?: string, set?: string[], scripts?: string, check?: boolean }
---@return lignum.World
function M.load(options)
  if options.check then disable(core.unsafe) end
  local draft = modules.new().require("lignum.draft")
  live = draft.build(options)
  core.group.filters, core.group.reserved = live.config.filters, live.policy.reserved
  live.serve()
  return live
end

---@param path string  "store.segment.messages"
---@return any
function M.config(path)
  return live and live.config.get(path)
end

---@param req lignum.Request
---@return integer status
---@return any body
---@return table? headers
function M.handle(req)
  return live.handle(req)
end

-- Calls a hook that says nothing: its failure is logged.
local function tell(name)
  local fn, place = live.hooks.get(name)
  if not fn then return end
  local ok, why = live.hooks.ask(name, place, fn)
  if not ok then core.say.error(why) end
end

---This world has become the live one.
function M.started() tell("on_start") end

---It is the live one no longer, or the broker stops.
function M.unloaded() tell("on_unload") end

---@return { seconds: number, fn: function, where: string }[]
function M.timers()
  local retries = live.worker.retries()
  return retries and table.move(live.config.timers, 1, #live.config.timers, 2, { retries }) or live.config.timers
end

-- What a follower asks -----------------------------------------------------------------------------

M.called = leader.called

-- What the core's world asks -----------------------------------------------------------------------

-- The hooks that its duties and the console ask.
local HOOKS <const> = { "may_lead", "on_leader_change", "ship", "on_publish" }

---What the core's world knows of this one.
---@return lignum.Description
function M.describe()
  local values, hooks = modules.copy(live.config.values), {}
  values.authorize = values.authorize ~= nil or nil
  for _, name in ipairs(HOOKS) do
    hooks[name] = select(2, live.hooks.get(name))
  end
  return {
    values = values, hooks = hooks, chooses = live.policy.has_functions(), fingerprint = live.fingerprint,
  }
end

---Calls a policy.
---@param name string
---@param argument table   with the name of a topic where the hook gets the topic
---@return true
---@return any result
function M.policy(name, argument)
  if argument.topic then argument.topic = core.topic(argument.topic) end
  return true, live.hooks.call(name, argument)
end

---@param name string   of a topic; see policy.chosen
---@return true
---@return table? settings
---@return string? problem
---@return boolean? late
function M.chosen(name)
  return true, live.policy.chosen(name)
end

---@param name string   of a topic; see policy.create
---@return boolean? ok
---@return string? message
---@return string? code
function M.create(name)
  return live.policy.create(name)
end

---@param name string   of a topic; see publish.append
function M.append(name, what, options)
  return live.publish.append(core.topic(name), what, options)
end

-- For the console; see inspect.lua.
function M.eval(id, text) return live.inspect().eval(id, text, require("lignum.compile").line, live.env) end
function M.trace(name, count) return live.inspect().trace(name, count) end
function M.traced() return live.inspect().traced() end
function M.untrace() return live.inspect().untrace() end

methods.add {
  create = function(name) return live.policy.create(name) end,
  append = function(topic, what, options) return live.publish.append(topic, what, options) end,
}

return M
