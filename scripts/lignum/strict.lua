--- Environments in which using an undefined global is an error at the place of use, instead of a nil that fails
--- somewhere else.
local near = require "lignum.near"

local M = {}

---Makes an environment of these names, to which more may be added until it is used. Other globals can be neither read
---nor assigned, and none of the names can be assigned.
---@param names table<string, any>
---@param on { read: fun(name: string, problem: string): any, write: fun(name: string, value: any, given: boolean) }
---  read: returns the value of an unknown name, or raises; write: returns true when it has accepted the value
---@return table env
function M.guard(names, on)
  setmetatable(names, {
    __index = function(_, name)
      local value = on.read(name, M.absence(name, names))
      return value                       -- not a tail call: on.read counts stack levels to find the place
    end,
    __metatable = "guarded",
  })
  return setmetatable({}, {
    __index = names,
    __newindex = function(_, name, value)
      local given = rawget(names, name) ~= nil
      if not on.write(name, value, given) then error(M.refusal(name, given), 2) end
    end,
    __pairs = function() return next, names end,
    __metatable = "guarded",
  })
end

---Why a global cannot be read.
---@param name any
---@param names table<string, any>   those that there are
---@return string
function M.absence(name, names)
  return ("there is no global %s%s"):format(tostring(name), near.hint(name, near.names(names)))
end

---Why a global cannot be assigned.
---@param name any
---@param given boolean   whether there is one of that name
---@return string
function M.refusal(name, given)
  local what = given and "%s is given, and cannot be assigned" or "%s would be a new global"
  return (what .. "; for a variable write `local %s`"):format(tostring(name), tostring(name))
end

---A value that accepts any call and any field access. It replaces an unknown name while lignum.lua is loaded, so that
---loading goes on and later errors are reported as well.
---@return table
function M.sink()
  local sink = {}
  local function itself() return sink end
  return setmetatable(sink, { __index = itself, __newindex = function() end, __call = itself })
end

return M
