--- Log lines about the cluster that other processes can cause, above all by what Consul says. A state is logged when it
--- begins or its text changes, and not again while it lasts. Of one subject at most LINES lines are logged in WINDOW
--- seconds; the others are counted, and the count is logged with the next line.
local core = require "lignum.core"

local clock = core.time.clock

local M = {
  current = {},   ---@type table<string, string>   [subject] = the text that was logged last
}

local LINES <const>, WINDOW <const> = 5, 10

local windows = {}   ---@type table<string, { since: number, lines: integer, left_out: integer }>

---Logs a line about something that happened.
---@param subject string
---@param text string
---@param level? "debug"|"info"|"warn"|"error"   default "warn"
function M.line(subject, text, level)
  local now, w = clock(), windows[subject]
  if not w or now >= w.since + WINDOW then
    local left_out = w and w.left_out or 0
    if left_out > 0 then core.say.warn(("cluster: left out %d more lines about: %s"):format(left_out, subject)) end
    -- After a window that left lines out, the next one has room for one line.
    w = { since = now, lines = left_out > 0 and LINES - 1 or 0, left_out = 0 }
    windows[subject] = w
  end
  if w.lines == LINES then
    w.left_out = w.left_out + 1
    return
  end
  w.lines = w.lines + 1
  core.say[level or "warn"]("cluster: " .. text)
end

---Logs that a state has begun.
---@param subject string   a later text about the same subject replaces this one
---@param text string
---@param level? "debug"|"info"|"warn"|"error"   default "warn"
function M.set(subject, text, level)
  if M.current[subject] == text then return end
  M.current[subject] = text
  M.line(subject, text, level)
end

---Notes that a state is over.
---@param subject string
function M.clear(subject)
  M.current[subject] = nil
end

return M
