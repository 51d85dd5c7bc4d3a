--- What is different between two values, as paths: `.items[2].price`.
local M = {}

local KEYS <const> = 32               -- of one table, in one list of differences
local DEPTH <const> = 16

---@class lignum.Difference
---@field path string    "" for the values themselves
---@field old any        nil: it is only in the new value
---@field new any

local function key_path(path, key)
  if math.type(key) == "integer" then return ("%s[%d]"):format(path, key) end
  if type(key) == "string" and key:find("^[%a_][%w_]*$") then return path .. "." .. key end
  return ("%s[%q]"):format(path, tostring(key))
end

local function before(a, b)
  if type(a) == type(b) and (type(a) == "number" or type(a) == "string") then return a < b end
  return tostring(a) < tostring(b)
end

local function same(a, b)
  return rawequal(a, b) or type(a) ~= "table" and a == b or a ~= a and b ~= b
end

local function compare(old, new, path, depth, found, most)
  if #found >= most or same(old, new) then return end
  if type(old) ~= "table" or type(new) ~= "table" or depth == DEPTH then
    found[#found + 1] = { path = path, old = old, new = new }
    return
  end
  local keys, n = {}, 0
  for key in pairs(old) do n = n + 1; keys[n] = key end
  for key in pairs(new) do
    if old[key] == nil then n = n + 1; keys[n] = key end
  end
  if n > 1 then table.sort(keys, before) end
  for _, key in ipairs(keys) do compare(old[key], new[key], key_path(path, key), depth + 1, found, most) end
end

---The differences, in the order of the keys; none: the values are equal.
---@param old any
---@param new any
---@param most? integer   differences in the list
---@return lignum.Difference[]
function M.values(old, new, most)
  local found = {}
  compare(old, new, "", 0, found, most or KEYS)
  return found
end

return M
