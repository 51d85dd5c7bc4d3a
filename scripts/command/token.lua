--- lignum token: access tokens of a running cluster, through any node. `new` is C's (core/command/token.c), as is all
--- of it with --console, which needs no token: the node's own user may use its console.
local json = require "lignum.core".json
local remote = require "lignum.remote"
local shell = require "lignum.shell"

local COLUMNS <const> = { { "NAME", "name" }, { "TOPICS", "topics" }, { "MAY", "may" }, { "UNTIL", "until" } }
local CONSOLE <const> = { "--console", "PATH", "through the console of a node of this host, which asks for no token" }

local function add(args, flags, node)
  if not flags.topics or not flags.may then
    shell.fail(64, "--topics PATTERN,... and --may ACTION,... are needed")
  end
  local token = node:json("POST", remote.path { "tokens" }, {
    json = { name = args[1], topics = flags.topics, may = flags.may, expires = flags.expires }, fresh = true,
  })
  if flags.json_out then return shell.json(token) end
  shell.out(token.secret .. "\n")
end

local function list(_, flags, node)
  local answer = node:json("GET", remote.path { "tokens" })
  if flags.json_out then return shell.json(answer.tokens) end
  for _, token in ipairs(answer.tokens) do
    token.topics, token.may = table.concat(token.topics, ","), table.concat(token.may, ",")
    token["until"] = token.declared and "lignum.lua" or token.expires or json.null
  end
  shell.rows(COLUMNS, answer.tokens)
end

local function revoke(args, _, node)
  node:request("DELETE", remote.path { "tokens", args[1] })
end

return {
  summary = "access tokens: makes, lists and revokes them", remote = true,
  verbs = {
    { name = "new", summary = "prints a secret, and the line that declares its token in lignum.lua; needs no node",
      usage = "NAME", args = { 1, 1 } },
    { name = "add", summary = "makes a token that all nodes know, and prints its secret, once", usage = "NAME",
      args = { 1, 1 }, run = add,
      flags = {
        { "--topics", "PATTERN,...", "the topics that it is for" },
        { "--may", "ACTION,...", "read, publish, consume, observe, admin, own" },
        { "--expires", "SPAN|TIME", "when it ends: 30d, or a time" }, CONSOLE,
      } },
    { name = "list", summary = "lists all tokens", usage = "", args = { 0, 0 }, run = list, flags = { CONSOLE } },
    { name = "revoke", summary = "revokes one", usage = "NAME", args = { 1, 1 }, run = revoke, flags = { CONSOLE } },
  },
}
