--- The functions that lignum.lua may define: which there are, and where they stand.
local core = require "lignum.core"
local near = require "lignum.near"

local M = {}

local KNOWN = { on_publish = true, authorize = true, may_lead = true, on_leader_change = true, ship = true }

local defined = {}      -- [name] = { fn =, place = }

---What reading the global `name` gives, if it names a hook.
---@param name string
---@return boolean known
---@return function?
function M.read(name)
  return KNOWN[name] == true, defined[name] and defined[name].fn
end

local function problem_with(name, value)
  if name == "replication" then return 'belongs into a rule: topic "*" { replication = function(topic, state) ... }' end
  if not KNOWN[name] then
    return ("is no hook%s; for a variable write `local %s`"):format(near.hint(name, near.names(KNOWN)), tostring(name))
  end
  if type(value) ~= "function" then return "must be a function" end
  if defined[name] then return "is defined already, at " .. defined[name].place end
end

---Takes a hook, or says what is wrong.
---@param name string
---@param value any
---@param place string
---@return string? problem
function M.define(name, value, place)
  local problem = problem_with(name, value)
  if problem then return tostring(name) .. ": " .. problem end
  defined[name] = { fn = value, place = place }
end

---@param name string
---@return function? fn
---@return string? place
function M.get(name)
  local hook = defined[name]
  if hook then return hook.fn, hook.place end
end

---An error in the words of a hook's place.
---@param name string
---@param what string
function M.complain(name, what)
  error(("%s: %s %s"):format(defined[name].place, name, what), 0)
end

---Calls a hook by its name, so that an error says which failed.
---@param name string
---@param argument any
---@return any ...
function M.call(name, argument)
  core.where(name)
  local a, b, c = defined[name].fn(argument)
  core.where(nil)
  return a, b, c
end

return M
