--- Log lines about states of the cluster: a state is logged when it begins or its text changes, and not again while it
--- lasts.
local core = require "lignum.core"

local M = {
  current = {},   ---@type table<string, string>   [subject] = the text that was logged last
}

---Logs that a state has begun.
---@param subject string   a later text about the same subject replaces this one
---@param text string
---@param level? "debug"|"info"|"warn"|"error"   default "warn"
function M.set(subject, text, level)
  if M.current[subject] == text then return end
  M.current[subject] = text
  core.say[level or "warn"]("cluster: " .. text)
end

---Notes that a state is over.
---@param subject string
function M.clear(subject)
  M.current[subject] = nil
end

return M
