--- lignum manual: the pages of the manual, lignum(1) and lignum.lua(5), made from the tables of commands and keys.
local core = require "lignum.core"
local help = require "lignum.help"
local command = require "lignum.command"
local schema = require "lignum.schema"
local shell = require "lignum.shell"

-- Text as roff takes it.
local function roff(text)
  return (text:gsub("\\", "\\e"):gsub("%-", "\\-"):gsub("\n%s*", "\n"):gsub("%f[^\n%z]([.'])", "\\&%1"))
end

local function header(name, section, what)
  return { ('.TH "%s" "%s" "" "Lignum %s"'):format(name:upper(), section, core.version), ".SH NAME",
           ("%s \\- %s"):format(roff(name), roff(what)) }
end

local function add_flags(out, flags)
  for _, flag in ipairs(flags or {}) do
    out[#out + 1] = ".TP"
    out[#out + 1] = ("\\fB%s\\fR%s"):format(roff(flag[1]), flag[2] and " \\fI" .. roff(flag[2]) .. "\\fR" or "")
    out[#out + 1] = roff(flag[3]) .. (flag.many and "; may be repeated" or "")
  end
end

local function add_usage(out, c, described)
  local verb = described ~= c and " " .. described.name or ""
  out[#out + 1] = (".SS \"lignum %s%s %s\""):format(c.name, verb, roff(described.usage))
  out[#out + 1] = roff(described.summary) .. "."
  add_flags(out, described.flags)
end

local function lignum_1()
  local out = header("lignum", "1", "a durable message log, programmed in Lua")
  table.move({
    ".SH SYNOPSIS", ".B lignum", "[\\fIcommand\\fR] [\\fIflag\\fR...]", ".SH DESCRIPTION",
    "Without a command, a node runs. The commands are:", ".SH COMMANDS",
  }, 1, 6, #out + 1, out)
  for _, c in ipairs(command.all()) do
    for _, verb in ipairs(c.verbs or { c }) do add_usage(out, c, verb) end
    if c.help then
      out[#out + 1] = ".P"
      out[#out + 1] = roff(c.help)
    end
  end
  out[#out + 1] = ".SH \"FLAGS OF ALL THAT TALK TO A NODE\""
  add_flags(out, command.shared)
  table.move({
    ".SH EXIT STATUS", roff(command.exits:gsub("^Exit codes: ", "")),
    ".SH FILES", ".TP", "~/.config/lignum/contexts.lua",
    roff "nodes by name: return { default = \"prod\", prod = { url = \"https://...\", token_file = \"...\" } }",
    ".SH ENVIRONMENT", ".TP", "LIGNUM_URL, LIGNUM_TOKEN", "the node, and the secret of an access token",
    ".SH \"SEE ALSO\"", "lignum.lua(5)",
  }, 1, 12, #out + 1, out)
  return out
end

local function lignum_lua_5()
  local out = header("lignum.lua", "5", "the configuration of a node of Lignum")
  table.move({
    ".SH DESCRIPTION",
    roff "The file is Lua: verbs with tables, and functions where there is something to decide. A group of keys is a "
      .. "verb, such as store { path = \"data\" }. Numbers take units: 64 * MiB, 30 * day. lignum check says what is "
      .. "wrong in it, with the line and the nearest name.",
    ".SH KEYS",
  }, 1, 3, #out + 1, out)
  local function add(path, k)
    out[#out + 1] = ".TP"
    out[#out + 1] = ("\\fB%s\\fR (%s, default %s)"):format(roff(path), k.kind, roff(help.default_text(k)))
    out[#out + 1] = roff(k.text)
  end
  help.each_key(schema.keys, "", add)
  out[#out + 1] = ".SH \"KEYS OF TOPICS\""
  out[#out + 1] = roff "topic \"PATTERN\" { ... }: the first pattern that matches a new topic decides."
  help.each_key(schema.topic, "", add)
  out[#out + 1] = ".SH \"SEE ALSO\""
  out[#out + 1] = "lignum(1)"
  return out
end

local PAGES <const> = { ["lignum.1"] = lignum_1, ["lignum.lua.5"] = lignum_lua_5 }

return {
  summary = "prints a page of the manual", usage = "lignum.1|lignum.lua.5", args = { 1, 1 }, flags = {},
  help = "lignum manual lignum.1 | man -l -",
  run = function(args)
    local make = PAGES[args[1]] or shell.fail(64, "%s: there are lignum.1 and lignum.lua.5", args[1])
    shell.out(table.concat(make(), "\n") .. "\n")
  end,
}
