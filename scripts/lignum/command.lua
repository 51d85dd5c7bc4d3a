--- The command line's subcommands: finds the one that is meant, reads its flags, runs it, and prints help
--- (core/script/client.h). C handles those of scripts/command/core.lua itself, and sends only `help` of them here.
---
--- To add a subcommand: scripts/command/NAME.lua, and NAME in COMMANDS. The file returns a table:
---
---     summary   what it does, in one line
---     usage     what follows the name: "TOPIC [MESSAGE...]"
---     args      {min, max} number of arguments; max may be left out
---     flags     a list of { name, METAVAR or nil, what it does, type = "integer" | "number", many = true }
---     remote    true: it talks to a node, and takes the flags of REMOTE
---     help      further lines, or nil
---     run       function(args, flags, node): the exit code, or nothing for 0; `node` is of lignum.remote
---
--- or, instead of usage, args, flags and run, `verbs`: { { name =, summary =, usage =, ... }... }, such as `topic ls`.
local near = require "lignum.near"
local shell = require "lignum.shell"

local M = {}

-- As help shows them. Those in core.lua are C's.
local COMMANDS <const> = {
  "console", "pub", "sub", "topic", "group", "token", "cluster", "top", "bench", "reload", "replay", "backup",
  "restore", "doctor", "completion", "manual",
}

-- Flags of all that talk to a node.
local REMOTE <const> = {
  { "--url", "URL[,URL...]", "the node, or several of a cluster (else $LIGNUM_URL, the context, 127.0.0.1:8080)" },
  { "--context", "NAME", "a node of ~/.config/lignum/contexts.lua" },
  { "--token-file", "FILE", "a file with the access token's secret (default: $LIGNUM_TOKEN)" },
  { "--ca", "FILE", "certificates of the authorities that https trusts" },
}
local COMMON <const> = { { "-o", "text|json", "the form of the output (default: text)" } }

-- Descriptions ---------------------------------------------------------------------------------

---All commands in the order of help: { name =, summary =, ... }.
function M.all()
  local list = {}
  for _, described in ipairs(require "command.core") do list[#list + 1] = described end
  for _, name in ipairs(COMMANDS) do
    local described = require("command." .. name)
    described.name = name
    list[#list + 1] = described
  end
  return list
end

local function names_of(list)
  local names = {}
  for i, entry in ipairs(list) do names[i] = entry.name end
  return names
end

local function find(list, name)
  for _, entry in ipairs(list) do
    if entry.name == name then return entry end
  end
end

---All flags of a command or verb, those that many have included.
function M.flags_of(described, command)
  local list = {}
  local function add(flags)
    for _, flag in ipairs(flags or {}) do list[#list + 1] = flag end
  end
  add(described.flags)
  if described.run then add(COMMON) end
  if described.remote or command and command.remote then add(REMOTE) end
  return list
end

-- Help -----------------------------------------------------------------------------------------

M.shared = { COMMON[1], table.unpack(REMOTE) }

local function flag_lines(out, flags)
  for _, flag in ipairs(flags) do
    local left = flag[1] .. (flag[2] and " " .. flag[2] or "")
    out[#out + 1] = ("  %-24s %s"):format(left, flag[3] .. (flag.many and " (may be repeated)" or ""))
  end
end

local function verb_help(out, command, described)
  out[#out + 1] = ("usage: lignum %s %s"):format(command.name, described == command and described.usage
    or described.name .. (described.usage ~= "" and " " .. described.usage or ""))
  out[#out + 1] = "  " .. described.summary
  flag_lines(out, described.flags or {})
end

---The help of a command, as text.
function M.help_of(command)
  local out = {}
  if command.verbs then
    out[1] = ("lignum %s: %s"):format(command.name, command.summary)
    for _, verb in ipairs(command.verbs) do
      out[#out + 1] = ""
      verb_help(out, command, verb)
    end
  else
    verb_help(out, command, command)
  end
  if command.help then out[#out + 1] = "\n" .. command.help end
  if command.remote or command.run or command.verbs then
    out[#out + 1] = "\nand, as others do:"
    flag_lines(out, command.remote and M.shared or COMMON)
  end
  return table.concat(out, "\n") .. "\n"
end

M.exits = [[
Exit codes: 0 success; 1 damage, or an error in Lua; 64 a mistake in flags or configuration; 65 what was given is
refused; 66 no such topic or group; 69 nobody listens; 70 a defect; 73 it exists already; 74 the disk failed or is full;
75 try again later; 77 not allowed; 78 no such context; 130 interrupted.
]]

local function overview()
  local out = { "lignum: a durable message log, programmed in Lua\n" }
  for _, command in ipairs(M.all()) do
    out[#out + 1] = ("  %-12s %s"):format(command.name, command.summary)
  end
  out[#out + 1] = "\n  lignum NAME --help tells more; without a name, a node runs (serve). lignum --version\n"
  out[#out + 1] = M.exits
  return table.concat(out, "\n")
end

local function help(name)
  if not name then return shell.out(overview()) end
  local all = M.all()
  local command = find(all, name)
  if not command then
    shell.fail(64, "%s: no such command%s (lignum --help lists all)", name, near.hint(name, names_of(all)))
  end
  shell.out(M.help_of(command))
end

-- The command line -------------------------------------------------------------------------------

local function flag_value(flag, text)
  if flag.type == "integer" or flag.type == "number" then
    local value = tonumber(text)
    if flag.type == "integer" then value = text:find("^%d+$") and math.tointeger(value) end
    if not value or value < 0 then shell.fail(64, "%s: %s is no %s", flag[1], text, flag.type) end
    return value
  end
  return text
end

-- The name under which `run` finds it: --token-file is flags.token_file.
local function key_of(flag)
  return (flag[1]:gsub("^%-+", ""):gsub("%-", "_"))
end

local function keep(flags, flag, value)
  local key = key_of(flag)
  if flag.many then
    flags[key] = flags[key] or {}
    table.insert(flags[key], value)
  elseif flags[key] ~= nil then
    shell.fail(64, "%s is given twice", flag[1])
  else
    flags[key] = value
  end
end

local function find_flag(known, name)
  local names = {}
  for i, flag in ipairs(known) do
    names[i] = flag[1]
    if flag[1] == name then return flag end
  end
  shell.fail(64, "%s: no such flag%s (--help lists all)", name, near.hint(name, names))
end

-- A word with a minus is a flag, but for a lone one and negative numbers and times (-15m).
local function is_flag(word)
  return word:find("^%-") and word ~= "-" and not word:find("^%-%d")
end

---Splits words into arguments and flags by what is known.
function M.parse(words, first, known)
  local args, flags, i, only_args = {}, {}, first, false
  while words[i] do
    local word = words[i]
    if only_args or not is_flag(word) then
      args[#args + 1] = word
    elseif word == "--" then
      only_args = true
    else
      local name, value = word:match("^(%-%-[%w-]+)=(.*)$")
      local flag = find_flag(known, name or word)
      if flag[2] and not value then
        i = i + 1
        value = words[i] or shell.fail(64, "%s needs a value: %s", flag[1], flag[2])
      elseif not flag[2] and value then
        shell.fail(64, "%s takes no value", flag[1])
      end
      keep(flags, flag, flag[2] and flag_value(flag, value) or true)
    end
    i = i + 1
  end
  return args, flags
end

local function asks_for_help(words)
  for i = 2, #words do
    if words[i] == "--" then return false end
    if words[i] == "--help" or words[i] == "-h" then return true end
  end
end

local function find_verb(command, name)
  local verb = find(command.verbs, name)
  if verb then return verb end
  local names = names_of(command.verbs)
  if not name then shell.fail(64, "say which: %s (--help tells more)", table.concat(names, ", ")) end
  shell.fail(64, "%s: no such command%s; there are %s", name, near.hint(name, names), table.concat(names, ", "))
end

local running = ""     -- " NAME", once it is known

local function run(words)
  local name = words[1]
  if name == "help" then return help(words[2]) end
  local all = M.all()
  local command = find(all, name)
  if not command or not (command.run or command.verbs) or asks_for_help(words) then return help(name) end
  running = " " .. name
  local described = command.verbs and find_verb(command, words[2]) or command
  local args, flags = M.parse(words, described == command and 2 or 3, M.flags_of(described, command))
  local least, most = (described.args or {})[1] or 0, (described.args or {})[2] or math.huge
  if #args < least or #args > most then
    shell.fail(64, "usage: lignum %s%s %s", name, described == command and "" or " " .. described.name, described.usage)
  end
  if flags.o and flags.o ~= "text" and flags.o ~= "json" then shell.fail(64, "-o is text or json, not %s", flags.o) end
  flags.json_out = flags.o == "json"
  local node = (command.remote or described.remote) and require("lignum.remote").open(flags)
  return described.run(args, flags, node)
end

---Entry point of C: the exit code. A failure is one sentence on standard error.
---@param words string[]  the name of the command first
function M.main(words)
  local ok, result = xpcall(run, function(problem)
    return shell.is_failure(problem) and problem or debug.traceback(tostring(problem), 2)
  end, words)
  if ok then return math.tointeger(result) or 0 end
  if not shell.is_failure(result) then error(result, 0) end
  if result.message then shell.complain("lignum%s: %s", running, result.message) end
  return result.exit
end

return M
