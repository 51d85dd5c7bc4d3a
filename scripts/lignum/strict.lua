--- Environments in which a misspelt global is an error with its place, instead of a nil that
--- travels.
local near = require "lignum.near"

local M = {}

---Guards an environment: what it does not have can be neither read nor made.
---@param env table
---@param on { read: fun(name: string, problem: string): any, write: fun(name: string, value: any): boolean }
---  read: what an unknown name is worth (it may raise); write: true when it has taken the value
---@return table env
function M.guard(env, on)
  return setmetatable(env, {
    __index = function(_, name)
      local hint = near.hint(name, near.names(env))
      local value = on.read(name, ("there is no global %s%s"):format(tostring(name), hint))
      return value                       -- not a tail call: read counts levels to find the place
    end,
    __newindex = function(_, name, value)
      if not on.write(name, value) then
        error(("%s would be a new global; write `local %s`"):format(tostring(name), tostring(name)), 2)
      end
    end,
    __metatable = "guarded",
  })
end

---Something that takes any call and any field: what stands for an unknown name while lignum.lua is
---read, so that the errors after it are found as well.
---@return table
function M.sink()
  local sink = {}
  local function itself() return sink end
  return setmetatable(sink, { __index = itself, __newindex = function() end, __call = itself })
end

return M
