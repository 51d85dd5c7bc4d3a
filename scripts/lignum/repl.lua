--- The console: runs statements, formats their results, completes names.
---
--- Each session has its own globals. Names that it has not set are looked up in `shared`: the functions of api.lua, the
--- live configuration (read-only) and Lua itself; use() replaces them after a reload. The client sends an unfinished
--- statement again with each further line, so nothing of it is kept here.
local audit = require "lignum.audit"
local compile = require "lignum.compile"
local core = require "lignum.core"

local M = {}

local live           ---@type lignum.World
local sessions = {}  -- [id] = { env =, write = }
local shared = {}    -- the globals that all sessions see

-- A view of a table that cannot be changed.
local function read_only(t)
  local view = {}
  for k, v in pairs(t) do view[k] = type(v) == "table" and read_only(v) or v end
  return setmetatable({}, {
    __index = view,
    __newindex = function()
      error("the live configuration is read-only; change lignum.lua and run node.reload()", 2)
    end,
    __pairs = function() return next, view end,
    __len = function() return #view end,
  })
end

---Shows a new world to all sessions.
---@param world lignum.World
function M.use(world)
  live = world
  for name in pairs(shared) do shared[name] = nil end
  for name, value in pairs(_G) do shared[name] = value end
  for name, value in pairs(world.api()) do shared[name] = value end
  shared.config = read_only(world.config.values)
end

-- help() -----------------------------------------------------------------------------------------

-- The name under which api.lua describes a function.
local function name_of(fn)
  for name, value in pairs(shared) do
    if value == fn then return name end
    if type(value) == "table" and name ~= "_G" then
      for field, inner in pairs(value) do
        if inner == fn then return name .. "." .. field end
      end
    end
  end
end

local function help_text(subject)
  local help = live.help
  if subject == nil then return help.overview() end
  if type(subject) == "string" then return help.on(subject) end
  return help.on(name_of(subject) or type(subject) == "userdata" and "Topic" or tostring(subject))
end

-- trace() and profile() --------------------------------------------------------------------------

local LONGEST <const> = 3600           -- seconds for a line in the operator's world, a trace, a profile
local SOON <const> = 0.1               -- seconds between two looks at a trace

-- Prints the next calls of a hook as they come.
local function trace(session, name, count)
  if type(name) ~= "string" or math.type(count) ~= "integer" or count < 1 or count > 1000 then
    error('trace(hook [, count]): such as trace("on_publish", 5)', 3)
  end
  local begun, why = core.ask(1, "trace", name, count)
  if not begun then error(why, 3) end
  local _ <close> = setmetatable({}, { __close = function() core.call("untrace") end })     -- also after Ctrl-C
  local on, until_then = true, core.time.clock() + LONGEST
  while on and core.time.clock() < until_then do
    local lines, lost
    on, lines, lost = core.call "traced"
    for _, line in ipairs(lines) do session.write(line .. "\n") end
    if lost > 0 then session.write(("%d calls are left out\n"):format(lost)) end
    if on then core.sleep(SOON) end
  end
end

-- Takes a profile of all scripts of the node; prints it in the folded form, or writes it to a file as a picture.
local function profile(session, seconds, path)
  if type(seconds) ~= "number" or not (seconds > 0 and seconds <= LONGEST) then
    error("profile(seconds [, path]): from 0 to 3600 seconds", 3)
  end
  local flame = require "lignum.flame"         -- only a profile needs it
  local begun, why = core.profile(true)
  if not begun then error(why, 3) end
  local _ <close> = setmetatable({}, { __close = function() core.profile(false) end })
  core.sleep(seconds)
  local stacks = core.profile(false)
  if stacks.others == 0 then stacks.others = nil end
  if not path then
    session.write(flame.folded(stacks))
    return
  end
  local file, problem = core.unsafe.open(path, "w")
  if not file then error(problem, 3) end
  file:write(flame.svg(stacks, ("Lua of this node, %g s"):format(seconds)))
  file:close()
  return path
end

-- Running ----------------------------------------------------------------------------------------

local function session_of(id)
  if sessions[id] then return sessions[id] end
  local session = {}
  local env = setmetatable({}, { __index = shared })
  function env.print(...)
    local parts = table.pack(...)
    for i = 1, parts.n do parts[i] = tostring(parts[i]) end
    session.write(table.concat(parts, "\t") .. "\n")
  end
  function env.help(subject)
    session.write(help_text(subject) .. "\n")
  end
  function env.trace(name, count) trace(session, name, count or 1) end
  function env.profile(seconds, path) return profile(session, seconds, path) end
  env._G = env
  session.env = env
  sessions[id] = session
  return session
end

-- A line that begins: when what is returned is closed, the audit gets the line, with the outcome that is set by then.
-- A line that Ctrl-C ends has none.
local function begin_line(text, who, from)
  return setmetatable({ outcome = "interrupted" }, { __close = function(line)
    local values = live.config.values
    if line.outcome and audit.is_on(values.access and values.access.audit) then
      audit.console(text, line.outcome, who, from)
    end
  end })
end

-- Runs a line in the operator's world.
local function eval_there(session, id, text, who, from)
  local line <close> = begin_line(text, who, from)
  local what, result, output = core.ask(LONGEST, "eval", id, text)
  if not what then what, result, output = "error", result, "" end
  line.outcome = what ~= "more" and what or nil
  if what == "more" then return what end
  if output ~= "" then session.write(output) end
  return what, result
end

---Runs a statement or expression.
---@param id integer    of the session
---@param text string   all lines of the statement so far
---@param write fun(text: string)
---@param who? string     for the audit: who runs it, when not through the console's socket
---@param from? string    and from where
---@return "more"|"ok"|"error" what   "more": the statement is unfinished
---@return string? text               the results, or the error
function M.eval(id, text, write, who, from)
  local session = session_of(id)
  session.write = write
  local other = text:match("^%s*:(%a+)%s*$")
  if other == "world" or other == "core" then
    session.world = other == "world"
    return "ok", session.world and "lignum.lua's own world, until :core" or "the core's world"
  end
  if session.world then return eval_there(session, id, text, who, from) end
  local chunk, problem, unfinished = compile.line(text, session.env)
  if unfinished then return "more" end
  if not chunk then return "error", problem end
  local line <close> = begin_line(text, who, from)
  local results = table.pack(pcall(chunk))
  line.outcome = results[1] and "ok" or "error"
  if not results[1] then
    local why = results[2]
    return "error", type(why) == "string" and why or live.pretty.format(why)
  end
  if results.n > 1 then session.env._ = results[2] end
  local texts = {}
  for i = 2, results.n do texts[#texts + 1] = live.pretty.format(results[i]) end
  return "ok", table.concat(texts, ", ")
end

---@param id integer
function M.close(id)
  sessions[id] = nil
end

local SESSIONS <const> = 16               -- of HTTP; the one used longest ago makes room
local OUTPUT <const> = 1 << 20            -- bytes that a line may print
local TAKEN <const> = 0.05                -- seconds between two looks whether output was taken
local used = {}                           -- names of sessions, the one used last at the end
local outputs = {}                        -- [name] = { pieces =, size = }, of the line that it runs

---Runs a line for a request.
---@param name string     of the session
---@param text string
---@param who string
---@param from string
---@param streams boolean  M.output takes what it prints, which waits until it is taken; else too much is left out
---@return string what    as from M.eval
---@return string? text
---@return string output  what it has printed, and nobody has taken
function M.line(name, text, who, from, streams)
  if outputs[name] then return "error", "another line of this session is still running", "" end
  for i = #used, 1, -1 do
    if used[i] == name then table.remove(used, i) end
  end
  used[#used + 1] = name
  if #used > SESSIONS then M.close(table.remove(used, 1)) end
  local out = { pieces = {}, size = 0 }
  outputs[name] = out
  local _ <close> = setmetatable({}, { __close = function() outputs[name] = nil end })
  local what, result = M.eval(name, text, function(piece)
    while streams and out.size >= OUTPUT do core.sleep(TAKEN) end
    if out.size < OUTPUT then out.pieces[#out.pieces + 1] = streams and piece or piece:sub(1, OUTPUT - out.size) end
    out.size = out.size + #piece
  end, who, from)
  if not streams and out.size > OUTPUT then
    out.pieces[#out.pieces + 1] = ("\n... %d bytes in all"):format(out.size)
  end
  return what, result, table.concat(out.pieces)
end

---Takes what the line that a session runs has printed.
---@param name string
---@return string output
function M.output(name)
  local out = outputs[name]
  if not out then return "" end
  local text = table.concat(out.pieces)
  out.pieces, out.size = {}, 0
  return text
end

-- Completion -------------------------------------------------------------------------------------

-- Visits the string keys of a table and of its __index tables, without calling any function.
local function each_name(t, visit)
  for _ = 1, 4 do
    if type(t) ~= "table" then return end
    for name, value in next, t do
      if type(name) == "string" then visit(name, value) end
    end
    local meta = getmetatable(t)
    t = type(meta) == "table" and rawget(meta, "__index")
  end
end

local function raw_field(t, name)
  local found
  each_name(t, function(key, value)
    if key == name and found == nil then found = value end
  end)
  return found
end

-- The class of what a call at the end of the text returns, by the descriptions in api.lua: "Topic" for
-- `x = topic("a")`; nil where they do not say.
local function class_of_call(text)
  local callee = text:match("(:?[%a_][%w_.:]*)%s*%b()$") or text:match("(:?[%a_][%w_.:]*)%s*%b{}$")
  local last = callee and callee:match("[%w_]+$")
  local class
  for _, entry in ipairs(callee and live.help.entries() or {}) do
    local method = callee:find(":", 1, true) and entry.name:match(":([%w_]+)$") == last
    if entry.name == callee or method then
      local of = entry.returns and entry.returns[1] and entry.returns[1]:match("^lignum%.(%w+)")
      if class and of ~= class then return nil end     -- methods of that name return different things
      class = of
    end
  end
  return class
end

-- The methods of a value, of what a call before it returns, or, where neither is known, of everything.
local function methods(value, before)
  local names, of_class = {}, {}
  if type(value) == "string" then
    each_name(string, function(name) names[#names + 1] = name end)
    return names
  end
  local class = value == nil and class_of_call(before) or type(value) == "userdata" and tostring(value):match("^%l+ ")
  class = class and class:gsub("^%l", string.upper):gsub(" $", "")
  for _, entry in ipairs(live.help.entries()) do
    local owner, name = entry.name:match("^(%u%w*):([%w_]+)$")
    names[#names + 1] = name
    if owner == class then of_class[#of_class + 1] = name end
  end
  return #of_class > 0 and of_class or names
end

-- The value of the expression "a.b.c", found without calling any function; nil when that is not possible.
local function value_at(env, path)
  local value = env
  for name in path:gmatch("[^.]+") do value = raw_field(value, name) end
  return value
end

local function fields(value)
  local names = {}
  each_name(value, function(name)
    if name:find("^[%a_][%w_]*$") then names[#names + 1] = name end
  end)
  return names
end

---Completes the word before the cursor.
---@param id integer
---@param text string     the line up to the cursor
---@return string[] names  each a replacement for the word
function M.complete(id, text)
  local env = session_of(id).env
  local word = text:match("[%w_.:]*$")
  local path, separator, start = word:match("^(.-)([.:]?)([%w_]*)$")
  local value = path ~= "" and value_at(env, path) or separator == "" and env or nil
  local candidates = separator == ":" and methods(value, text:sub(1, #text - #separator - #start)) or fields(value)
  local names, seen = {}, {}
  for _, name in ipairs(candidates) do
    if name:sub(1, #start) == start and not seen[name] then
      seen[name] = true
      names[#names + 1] = path .. separator .. name
    end
  end
  table.sort(names)
  return names
end

return M
