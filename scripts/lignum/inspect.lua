--- What the console does in the operator's world: lines that are run among the globals of lignum.lua (`:world`), and
--- traces of hooks.
local core = require "lignum.core"
local diff = require "lignum.diff"
local hooks = require "lignum.hooks"
local modules = require "lignum.modules"
local pretty = require "lignum.pretty"

local M = {}

local LINES_MAX <const> = 1000         -- of a trace, that wait to be taken
local SHOWN <const> = 200              -- bytes of a value
local DIFFERENCES <const> = 5

local function shown(value)
  local text = pretty.format(value):gsub("\n%s*", " ")
  return #text <= SHOWN and text or text:sub(1, SHOWN - 3) .. "..."
end

-- :world ------------------------------------------------------------------------------------------------

local sessions = {}      -- [id] = its variables

---Runs a line of the console.
---@param id integer|string   of the session
---@param text string
---@param compile fun(text: string, env: table): function?, string?, boolean?
---@param given table         the globals of lignum.lua
---@return "more"|"ok"|"error" what
---@return string result
---@return string output      what it has printed
function M.eval(id, text, compile, given)
  local own, pieces = sessions[id] or {}, {}
  sessions[id] = own
  local env = setmetatable({}, {
    __index = function(_, name)
      local value = own[name]
      if value ~= nil then return value end
      return given[name]
    end,
    __newindex = function(_, name, value) own[name] = value end,
  })
  function own.print(...)
    local parts = table.pack(...)
    for i = 1, parts.n do parts[i] = tostring(parts[i]) end
    pieces[#pieces + 1] = table.concat(parts, "\t") .. "\n"
  end
  own.upvalues = core.unfold
  local chunk, problem, unfinished = compile(text, env)
  if unfinished then return "more", "", "" end
  if not chunk then return "error", problem, "" end
  local results = table.pack(pcall(chunk))
  local output, texts = table.concat(pieces), {}
  if not results[1] then
    return "error", type(results[2]) == "string" and results[2] or pretty.format(results[2]), output
  end
  if results.n > 1 then own._ = results[2] end
  for i = 2, results.n do texts[#texts + 1] = pretty.format(results[i]) end
  return "ok", table.concat(texts, ", "), output
end

-- Traces ------------------------------------------------------------------------------------------------

local traced             -- { name =, fn =, left =, lines =, lost = }, or nil

local function is_request(value)
  return type(value) == "userdata" and pcall(function() return value.method end)
end

-- An argument, before the hook has changed it.
local function snapshot(value)
  if is_request(value) then return ("%s %s"):format(value.method, value.path) end
  if type(value) ~= "table" then return value end
  local copy = {}
  for name, field in pairs(value) do copy[name] = type(field) == "table" and modules.copy(field) or field end
  return copy
end

-- How a call has ended: what it returned, and what it has changed of its argument.
local function outcome(before, value, results)
  if not results[1] then return "failed: " .. tostring(results[2]) end
  local refusal, parts = results[2], {}
  if type(refusal) == "table" and refusal.why and refusal.code then
    return ("reject(%s) %s"):format(shown(refusal.why), refusal.code)
  end
  for i = 2, results.n do parts[#parts + 1] = shown(results[i]) end
  local text = #parts > 0 and table.concat(parts, ", ") or "nothing"
  if type(before) ~= "table" then return text end
  for _, d in ipairs(diff.values(before, value, DIFFERENCES)) do
    text = text .. ("; %s: %s -> %s"):format(d.path, shown(d.old), shown(d.new))
  end
  return text
end

local function note(trace, line)
  if #trace.lines < LINES_MAX then trace.lines[#trace.lines + 1] = line else trace.lost = trace.lost + 1 end
end

local function stop(trace)
  if traced ~= trace then return end
  hooks.replace(trace.name, trace.fn)
end

---Traces the next calls of a hook.
---@param name string
---@param count integer
---@return true? begun
---@return string? message
---@return string? code
function M.trace(name, count)
  local fn = hooks.get(name)
  if not fn then return nil, ("lignum.lua defines no %s"):format(name), "bad_value" end
  if traced then stop(traced) end
  local trace = { name = name, fn = hooks.get(name), left = count, lines = {}, lost = 0 }
  traced = trace
  hooks.replace(name, function(argument, ...)
    if trace.left <= 0 then return trace.fn(argument, ...) end
    trace.left = trace.left - 1
    if trace.left == 0 then stop(trace) end
    local before, began = snapshot(argument), core.time.clock()
    local results = table.pack(pcall(trace.fn, argument, ...))
    note(trace, ("%s %.3f ms  %s  ->  %s"):format(name, (core.time.clock() - began) * 1000, shown(before),
      outcome(before, argument, results)))
    if not results[1] then error(results[2], 0) end
    return table.unpack(results, 2, results.n)
  end)
  return true
end

---What the trace has seen since it was asked last.
---@return boolean on       it goes on
---@return string[] lines
---@return integer lost     lines that nobody has taken in time
function M.traced()
  local trace = traced
  if not trace then return false, {}, 0 end
  local lines, lost = trace.lines, trace.lost
  trace.lines, trace.lost = {}, 0
  if trace.left == 0 and #lines == 0 then traced = nil end
  return trace.left > 0 or #lines > 0, lines, lost
end

---Ends the trace.
function M.untrace()
  if traced then stop(traced) end
  traced = nil
end

return M
