--- Names of topics that clients cannot write to: those of the broker, which begin with _, and those with a prefix that
--- routes have reserved. Scripts write to the latter.
local M = {}

local prefixes = {}      -- a list of { prefix =, why = }

---Reserves all names with a prefix.
---@param prefix string
---@param why string      a sentence for clients
function M.add(prefix, why)
  prefixes[#prefixes + 1] = { prefix = prefix, why = why }
end

---Why clients cannot write to the topic of that name; nil: they can.
---@param name string
---@return string? why
function M.problem(name)
  if name:byte() == 95 then return "topics that begin with _ are reserved for the broker" end
  for i = 1, #prefixes do
    local r = prefixes[i]
    if name:sub(1, #r.prefix) == r.prefix then return r.why end
  end
end

return M
