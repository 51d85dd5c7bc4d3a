--- Values as bytes, for calls between nodes: nil, booleans, numbers, strings, and tables of them. Nothing else has a
--- form, and what is read is checked as it is read.
local M = {}

local DEPTH <const> = 16

local function write(value, out, depth)
  local kind = math.type(value) or type(value)
  if kind == "nil" then
    out[#out + 1] = "n"
  elseif kind == "boolean" then
    out[#out + 1] = value and "t" or "f"
  elseif kind == "integer" then
    out[#out + 1] = string.pack("<c1i8", "i", value)
  elseif kind == "float" then
    out[#out + 1] = string.pack("<c1d", "d", value)
  elseif kind == "string" then
    out[#out + 1] = string.pack("<c1I4", "s", #value)
    out[#out + 1] = value
  elseif kind == "table" and depth < DEPTH then
    local at, count = #out + 1, 0
    out[at] = ""
    for k, v in next, value do
      write(k, out, depth + 1)
      write(v, out, depth + 1)
      count = count + 1
    end
    out[at] = string.pack("<c1I4", "{", count)
  else
    local why <const> = kind == "table" and " that is nested too deeply" or ""
    error("a " .. kind .. why .. " cannot be sent to another node", 0)
  end
end

local read

local FORMS <const> = {
  n = function(_, at) return nil, at end,
  t = function(_, at) return true, at end,
  f = function(_, at) return false, at end,
  i = function(text, at) return string.unpack("<i8", text, at) end,
  d = function(text, at) return string.unpack("<d", text, at) end,
  s = function(text, at) return string.unpack("<s4", text, at) end,
  ["{"] = function(text, at, depth)
    local all, count, next_at = {}, string.unpack("<I4", text, at)
    for _ = 1, count do
      local key, value
      key, next_at = read(text, next_at, depth + 1)
      value, next_at = read(text, next_at, depth + 1)
      all[key] = value
    end
    return all, next_at
  end,
}

function read(text, at, depth)
  local form = FORMS[text:sub(at, at)]
  if not form or depth > DEPTH then error("a call is not well formed", 0) end
  return form(text, at + 1, depth)
end

---@param values table   as table.pack makes it
---@return string
function M.write(values)
  local out = { string.pack("<I4", values.n) }
  for i = 1, values.n do write(values[i], out, 0) end
  return table.concat(out)
end

---Raises an error for what write has not made.
---@param text string
---@return table values   as table.pack makes it
function M.read(text)
  local count, at = string.unpack("<I4", text)
  local values = { n = count }
  for i = 1, count do values[i], at = read(text, at, 0) end
  if at ~= #text + 1 then error("a call is not well formed", 0) end
  return values
end

return M
