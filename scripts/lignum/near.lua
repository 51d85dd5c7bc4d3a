--- The nearest of some names: "did you mean".
local M = {}

-- Changes of one letter (insert, delete, replace, swap of neighbours) that make a into b.
local function distance(a, b)
  local before, last = nil, {}
  for j = 0, #b do last[j] = j end
  for i = 1, #a do
    local row = { [0] = i }
    for j = 1, #b do
      local cost = a:byte(i) == b:byte(j) and 0 or 1
      row[j] = math.min(last[j] + 1, row[j - 1] + 1, last[j - 1] + cost)
      if before and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        row[j] = math.min(row[j], before[j - 2] + 1)
      end
    end
    before, last = last, row
  end
  return last[#b]
end

---The name that was probably meant, or nil when none is near.
---@param wrong string
---@param names string[]
---@return string?
function M.find(wrong, names)
  if type(wrong) ~= "string" or #wrong > 64 then return nil end
  local best, least = nil, math.max(1, #wrong // 3) + 1
  for _, name in ipairs(names) do
    local d = distance(wrong:lower(), name:lower())
    if d < least then
      best, least = name, d
    end
  end
  return best
end

---The end of a sentence: "; did you mean retain?", or nothing.
---@param wrong string
---@param names string[]
---@param prefix? string  what stands before the name
---@return string
function M.hint(wrong, names, prefix)
  local name = M.find(wrong, names)
  return name and ("; did you mean " .. (prefix or "") .. name .. "?") or ""
end

---The keys of a table that are text, sorted.
---@param map table
---@return string[]
function M.names(map)
  local names = {}
  for name in pairs(map) do
    if type(name) == "string" then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

return M
