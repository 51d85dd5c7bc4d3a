--- Finds the name that a misspelt one was probably meant to be, for "did you mean".
local M = {}

-- How many edits of one letter (insert, delete, replace, swap with a neighbour) turn a into b.
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

---The name closest to `wrong`, or nil when none is close enough.
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

---A suggestion to append to an error: "; did you mean retain?", or "" when no name is close.
---@param wrong string
---@param names string[]
---@param prefix? string  put before the suggested name
---@return string
function M.hint(wrong, names, prefix)
  local name = M.find(wrong, names)
  return name and ("; did you mean " .. (prefix or "") .. name .. "?") or ""
end

---The string keys of a table, sorted.
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
