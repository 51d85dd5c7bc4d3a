--- Environments in which using an undefined global is an error at the place of use, instead of a nil that fails
--- somewhere else.
local near = require "lignum.near"

local M = {}

---Guards an environment: globals that it does not have can be neither read nor assigned.
---@param env table
---@param on { read: fun(name: string, problem: string): any, write: fun(name: string, value: any): boolean }
---  read: returns the value of an unknown name, or raises; write: returns true when it has accepted the value
---@return table env
function M.guard(env, on)
  return setmetatable(env, {
    __index = function(_, name)
      local hint = near.hint(name, near.names(env))
      local value = on.read(name, ("there is no global %s%s"):format(tostring(name), hint))
      return value                       -- not a tail call: on.read counts stack levels to find the place
    end,
    __newindex = function(_, name, value)
      if not on.write(name, value) then
        error(("%s would be a new global; write `local %s`"):format(tostring(name), tostring(name)), 2)
      end
    end,
    __metatable = "guarded",
  })
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
