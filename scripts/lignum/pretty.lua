--- Formats values as valid Lua, with sorted keys and bounded length and depth.
local M = {}

local WIDTH <const> = 90
local LIMIT <const> = 64 * 1024       -- bytes of one text
local DEPTH <const> = 8

local KEYWORDS = {}
for word in ([[and break do else elseif end false for function goto if in local nil not or repeat return then true
    until while]]):gmatch("%a+") do
  KEYWORDS[word] = true
end

local ESCAPES = { ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t", ['"'] = '\\"', ["\\"] = "\\\\" }

local function escape(c)
  return ESCAPES[c] or ("\\x%02x"):format(c:byte())
end

local function quote(text)
  local bytes = utf8.len(text) and '[%c"\\]' or '[%c"\\\x80-\xff]'
  return '"' .. text:gsub(bytes, escape) .. '"'
end

local function number(n)
  if n == math.mininteger then return "math.mininteger" end      -- its digits would be read as a float
  if math.type(n) == "integer" then return ("%d"):format(n) end
  if n ~= n then return "0/0" end
  if n == math.huge then return "math.huge" end
  if n == -math.huge then return "-math.huge" end
  local short = ("%.14g"):format(n)
  if tonumber(short) ~= n then short = ("%.17g"):format(n) end
  return short:find("[.e]") and short or short .. ".0"
end

local RANK = { number = 1, string = 2, boolean = 3 }

local function before(a, b)
  local ra, rb = RANK[type(a)] or 4, RANK[type(b)] or 4
  if ra ~= rb then return ra < rb end
  if ra <= 2 then return a < b end
  return tostring(a) < tostring(b)
end

local function sorted_keys(t, length)
  local keys = {}
  for k in pairs(t) do
    if not (math.type(k) == "integer" and k >= 1 and k <= length) then keys[#keys + 1] = k end
  end
  table.sort(keys, before)
  return keys
end

local write

-- Values without a literal in Lua. A topic's tostring() is valid Lua; a batch is shown as its messages.
local function opaque(value, state, depth)
  local text = tostring(value)
  if text:find('^topic "') then return text end
  local ok, render = pcall(function() return value.render end)
  if type(value) == "userdata" and ok and render then
    local list = {}
    for i = 1, #value do
      list[i] = value[i]
      if i > 200 then break end
    end
    return write(list, state, depth)
  end
  return "nil --[[" .. text .. "]]"
end

local function key_text(k, state)
  if type(k) == "string" and k:find("^[%a_][%w_]*$") and not KEYWORDS[k] then return k end
  return "[" .. write(k, state, DEPTH) .. "]"
end

local function items_of(t, state, depth)
  local items, length = {}, #t
  local function add(text)
    items[#items + 1] = text
    state.size = state.size + #text
    return state.size <= LIMIT
  end
  for i = 1, length do
    if not add(write(t[i], state, depth)) then
      items[#items + 1] = ("--[[ %d more ]]"):format(length - i)
      return items
    end
  end
  local keys = sorted_keys(t, length)
  for i, k in ipairs(keys) do
    if not add(key_text(k, state) .. " = " .. write(t[k], state, depth)) then
      items[#items + 1] = ("--[[ %d more ]]"):format(#keys - i)
      break
    end
  end
  return items
end

local function write_table(t, state, depth)
  if state.open[t] then return "nil --[[cycle]]" end
  if depth > DEPTH then return "{ --[[...]] }" end
  state.open[t] = true
  local items = items_of(t, state, depth + 1)
  state.open[t] = nil
  if #items == 0 then return "{}" end
  local line = "{ " .. table.concat(items, ", ") .. " }"
  if #line <= WIDTH - 2 * depth and not line:find("\n", 1, true) then return line end
  local indent = ("  "):rep(depth + 1)
  return "{\n" .. indent .. table.concat(items, ",\n" .. indent) .. "\n" .. ("  "):rep(depth) .. "}"
end

function write(value, state, depth)
  local kind = type(value)
  if kind == "string" then return quote(value) end
  if kind == "number" then return number(value) end
  if kind == "table" then return write_table(value, state, depth) end
  if kind == "nil" or kind == "boolean" then return tostring(value) end
  return opaque(value, state, depth)
end

---A value as text.
---@param value any
---@return string
---@example print(pretty.format({ b = 1, a = { "x" } }))
function M.format(value)
  return write(value, { size = 0, open = {} }, 0)
end

return M
