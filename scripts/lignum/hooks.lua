--- The hooks: global functions that lignum.lua may define.
local core = require "lignum.core"
local near = require "lignum.near"

local M = {}

local KNOWN = {
  on_publish = true, authorize = true, may_lead = true, on_leader_change = true, ship = true, on_retry = true,
  on_start = true, on_unload = true, on_published = true,
}

local defined = {}      -- [name] = { fn =, place = }

---Whether the global `name` is a hook, and its function if it is defined.
---@param name string
---@return boolean known
---@return function?
function M.read(name)
  return KNOWN[name] == true, defined[name] and defined[name].fn
end

---Why a global of this name cannot be defined; nil: it can, it is a hook.
---@param name any
---@return string?
function M.problem(name)
  if name == "replication" then
    return 'replication: belongs in a rule: topic "*" { replication = function(topic, state) ... }'
  end
  if KNOWN[name] then return nil end
  return ("%s: is not a hook%s; for a variable write `local %s`"):format(tostring(name),
    near.hint(name, near.names(KNOWN)), tostring(name))
end

---Defines a hook.
---@param name string
---@param value any
---@param place string
---@return string? problem   when it cannot be defined
function M.define(name, value, place)
  local problem = M.problem(name)
  if problem then return problem end
  if type(value) ~= "function" then return name .. ": must be a function" end
  if defined[name] then return ("%s: is already defined, at %s"):format(name, defined[name].place) end
  defined[name] = { fn = value, place = place }
end

---@param name string
---@return function? fn
---@return string? place
function M.get(name)
  local hook = defined[name]
  if hook then return hook.fn, hook.place end
end

---Where each hook that lignum.lua defines is defined.
---@return table<string, string>
function M.places()
  local places = {}
  for name, hook in pairs(defined) do places[name] = hook.place end
  return places
end

local REJECTIONS <const> = 20
local rejections = {}      -- the last messages that on_publish has rejected, the newest first

---Notes that on_publish has rejected a message.
---@param topic string
---@param code string
---@param why string
function M.rejected(topic, code, why)
  table.insert(rejections, 1, {
    time = core.time.format(core.now()), topic = topic, code = code, why = why,
  })
  rejections[REJECTIONS + 1] = nil
end

---The last messages that on_publish has rejected since this lignum.lua is live, the newest first.
---@return { time: string, topic: string, code: string, why: string }[]
function M.rejections()
  return rejections
end

local users = {}        -- [name] = functions that are told what the hook is

---Tells a function what the hook is, now and whenever it is replaced.
---@param name string
---@param set fun(fn: function?)
function M.use(name, set)
  users[name] = users[name] or {}
  table.insert(users[name], set)
  set(M.get(name))
end

---Puts another function in place of a hook.
---@param name string
---@param fn function
function M.replace(name, fn)
  defined[name].fn = fn
  for _, set in ipairs(users[name] or {}) do set(fn) end
end

---Raises an error at the place where the hook is defined.
---@param name string
---@param what string
function M.complain(name, what)
  error(("%s: %s %s"):format(defined[name].place, name, what), 0)
end

---Calls a hook. While it runs, errors of the core name it (core.where).
---@param name string
---@param argument any
---@return any ...
function M.call(name, argument)
  core.where(name)
  local a, b, c = defined[name].fn(argument)
  core.where(nil)
  return a, b, c
end

M.POLICY = core.limits.policy_ms / 1000     -- seconds in which a policy has to answer

---What a policy has answered.
---@param name string     of the hook
---@param place string    where it is defined
---@param done any        whether it has answered; then `result` is its answer, else why there is none
---@param result any
---@param code? string
---@return boolean ok
---@return any result     or why there is none
---@return boolean? late  it did not answer in time
function M.outcome(name, place, done, result, code)
  if done then return true, result end
  -- core.ask and core.within return nil, message, code
  if code ~= "timeout" then return false, result end
  return false, ("%s: %s has not answered within %g s"):format(place, name, M.POLICY), true
end

---Calls a policy in a task of its own. It may wait, but has to answer within a second.
---@param name string     of the hook, for messages
---@param place string    where it is defined
---@param fn function
---@param ... any
---@return boolean ok
---@return any result     or why there is none
---@return boolean? late  it did not answer in time
function M.ask(name, place, fn, ...)
  local args, result, began = table.pack(...), nil, core.time.clock()
  local done, why, code = core.within(M.POLICY, name, function() result = fn(table.unpack(args, 1, args.n)) end)
  core.called("hook", name, core.time.clock() - began, not done and why or nil)
  if done then return true, result end
  return M.outcome(name, place, nil, why, code)
end

return M
