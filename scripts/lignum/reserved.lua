--- Names of topics that clients cannot write to: those of the broker, which begin with _, and those with a prefix that
--- routes have reserved. Scripts write to the latter.
local core = require "lignum.core"

local M = {}

local byte, sub = string.byte, string.sub

local UNDERSCORE <const> = byte("_")

local FREE_MAX <const> = 4096
local NAME_MAX <const> = core.limits.topic_name_max

local prefixes = {}      -- [first byte] = a list of { prefix =, why = }
local free_count = 0

---Names that were asked about and are free, as each publish asks. At most FREE_MAX: others are looked at each time.
---@type table<string, true>
M.free = {}

---Reserves all names with a prefix.
---@param prefix string
---@param why string      a sentence for clients
function M.add(prefix, why)
  local first = byte(prefix)
  prefixes[first] = prefixes[first] or {}
  table.insert(prefixes[first], { prefix = prefix, why = why })
  for name in pairs(M.free) do M.free[name] = nil end
  free_count = 0
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
  if free_count < FREE_MAX and #name <= NAME_MAX and not M.free[name] then
    M.free[name], free_count = true, free_count + 1
  end
end

return M
