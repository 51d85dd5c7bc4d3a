--- What subcommands need of the terminal: output, failures with an exit code, tables, progress.
local core = require "lignum.core"
local system = require "lignum.system"

local M = {}

local Failure = {}

---Ends the command with an exit code, after one sentence. Without a sentence it ends in silence.
---@param exit integer
---@param message? string  a format, if more follows
function M.fail(exit, message, ...)
  error(setmetatable({ exit = exit, message = message and (select("#", ...) > 0 and message:format(...) or message) },
    Failure), 0)
end

function M.is_failure(value)
  return type(value) == "table" and getmetatable(value) == Failure
end

---Ends the command if Ctrl-C or SIGTERM has come.
function M.check_interrupt()
  if system.interrupted() then M.fail(130) end
end

---Writes to standard output.
function M.out(text)
  local ok, why = system.write(1, text)
  if not ok then M.fail(74, "standard output: %s", why) end
end

---A line on standard error.
function M.complain(message, ...)
  system.write(2, M.plain(select("#", ...) > 0 and message:format(...) or message) .. "\n")
end

---One value as a line of JSON.
function M.json(value)
  M.out(core.json.encode(value) .. "\n")
end

-- Control characters of ASCII and of Latin-1 are escaped on a terminal: text from a message must not control it.
local function escaped(text)
  return (text:gsub("[%z\1-\8\11-\31\127]", function(c) return ("\\x%02x"):format(c:byte()) end)
    :gsub("\xc2([\x80-\x9f])", function(c) return ("\\u%04x"):format(c:byte()) end))
end

---Text of others, fit for standard error and tables.
function M.plain(text)
  return escaped(text)
end

---A payload: as it is, but on a terminal without control over it.
function M.payload(text)
  return system.terminal(1) and escaped(text) or text
end

local function cell(value)
  if value == nil or value == core.json.null then return "-" end
  if type(value) == "table" then return core.json.encode(value) end
  if math.type(value) == "float" then return ("%.15g"):format(value) end
  return M.plain(tostring(value))
end

---Prints rows under their titles. Columns: { { title, key }... }; numbers stand at the right.
function M.rows(columns, rows)
  local width, lines = {}, { {} }
  for c, column in ipairs(columns) do
    lines[1][c], width[c] = column[1], #column[1]
  end
  for _, row in ipairs(rows) do
    local line = {}
    for c, column in ipairs(columns) do
      line[c] = cell(row[column[2]])
      width[c] = math.max(width[c], utf8.len(line[c]) or #line[c])
    end
    lines[#lines + 1] = line
  end
  for l, line in ipairs(lines) do
    local out = {}
    for c, text in ipairs(line) do
      local room = (" "):rep(width[c] - (utf8.len(text) or #text))
      local right = l > 1 and type(rows[l - 1][columns[c][2]]) == "number"
      out[c] = right and room .. text or c < #columns and text .. room or text
    end
    M.out(table.concat(out, "  ") .. "\n")
  end
end

---Prints the members of an object, one a line, sorted, nested ones with dots.
function M.members(object, prefix)
  local names = {}
  for name in pairs(object) do names[#names + 1] = tostring(name) end
  table.sort(names)
  for _, name in ipairs(names) do
    local value = object[name]
    if type(value) == "table" and not core.json.is_array(value) and next(value) ~= nil then
      M.members(value, (prefix or "") .. name .. ".")
    else
      M.out(("%-28s %s\n"):format((prefix or "") .. name, cell(value)))
    end
  end
end

-- Values of settings: JSON where they are some, else text. Sizes and spans have the units of lignum.lua.
local UNITS <const> = {
  s = 1, m = 60, h = 3600, d = 86400, KB = 1000, MB = 1000 ^ 2, GB = 1000 ^ 3, TB = 1000 ^ 4,
  KiB = 1024, MiB = 1024 ^ 2, GiB = 1024 ^ 3, TiB = 1024 ^ 4,
}

local function value_of(text)
  local number, unit = text:match("^(%d+%.?%d*)%s*(%a+)$")
  if number and UNITS[unit] then
    local value = tonumber(number) * UNITS[unit]
    return math.tointeger(value) or value
  end
  local value = core.json.decode(text)
  if value == nil then return text end
  return value
end

---Settings as an object: {"retain.age=7d"} is { retain = { age = 604800 } }.
---@param args string[]
---@param first integer  the first of them that is a setting
function M.settings(args, first)
  local settings = {}
  for i = first, #args do
    local path, text = args[i]:match("^([%w_.]+)=(.*)$")
    if not path then M.fail(64, "%s: settings are KEY.PATH=VALUE, such as retain.age=7d", args[i]) end
    local at, last = settings, nil
    for name in path:gmatch("[^.]+") do
      if last then
        at[last] = at[last] or {}
        at = at[last]
        if type(at) ~= "table" then M.fail(64, "%s: %s is given twice", args[i], last) end
      end
      last = name
    end
    at[last or M.fail(64, "%s: no key", args[i])] = value_of(text)
  end
  return settings
end

---Asks on the terminal; true for y or yes.
function M.confirm(question)
  system.write(2, question .. " [y/N] ")
  local line = system.stdin:read("l")
  M.check_interrupt()
  return line ~= nil and line:lower():find("^ye?s?$") ~= nil
end

---A progress line on standard error, if that is a terminal: call it with a part of 1 and a text, and with nothing at
---the end.
function M.progress()
  local columns = system.terminal(2)
  local shown = -math.huge
  return function(part, text)
    if not columns then return end
    local now = core.time.clock()
    if not part then
      if shown > 0 then system.write(2, "\r\27[K") end
    elseif now - shown >= 0.1 then
      shown = now
      local bar = math.floor(math.min(part, 1) * 20)
      local line = ("[%s%s] %3d %% %s"):format(("#"):rep(bar), (" "):rep(20 - bar), math.floor(part * 100), text or "")
      system.write(2, "\r" .. line:sub(1, columns - 1) .. "\27[K")
    end
  end
end

return M
