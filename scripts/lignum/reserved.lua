--- Names of topics that clients cannot write to: those of the broker, which begin with _, and those with a prefix that
--- routes have reserved. Scripts write to the latter.

local M = {}

local byte, sub = string.byte, string.sub

local UNDERSCORE <const> = byte("_")

local prefixes = {}      -- [first byte] = a list of { prefix =, why = }

M.any = false            -- whether a prefix is reserved besides _, which the core knows

---Reserves all names with a prefix.
---@param prefix string
---@param why string      a sentence for clients
function M.add(prefix, why)
  local first = byte(prefix)
  prefixes[first] = prefixes[first] or {}
  table.insert(prefixes[first], { prefix = prefix, why = why })
  M.any = true
end

---Why clients cannot write to the topic of that name; nil: they can.
---@param name string
---@return string? why
function M.problem(name)
  local first = byte(name)
  if first == UNDERSCORE then return "topics that begin with _ are reserved for the broker" end
  local list = prefixes[first] or {}
  for i = 1, #list do
    local r = list[i]
    if sub(name, 1, #r.prefix) == r.prefix then return r.why end
  end
end

return M
