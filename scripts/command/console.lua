--- lignum console https://HOST:PORT: a Lua console on a node elsewhere. A node of this host has a socket, which C's
--- console uses (core/command/client.c); it is described here, too.
local core = require "lignum.core"
local remote = require "lignum.remote"
local shell = require "lignum.shell"
local system = require "lignum.system"

local PROMPT <const>, MORE <const> = "lignum> ", "     .. "
local FAREWELL <const> = { quit = true, exit = true, ["quit()"] = true, ["exit()"] = true }
local COMPLETE <const> = 5         -- seconds for the node to complete a name
local SILENCE <const> = 30         -- seconds without a byte: the node writes one several times a second

-- What a token opens must not travel in the clear: to this host only.
local function check_url(url)
  local host = url:match("^http://%[?([^/%]]+)")
  if not host then return end
  host = host:match("^(.-):%d+$") or host
  if host:find("^127%.") or host == "localhost" or host:find("^::1") then return end
  shell.fail(64, "%s: a console on another host needs https", url)
end

-- Shows what one line of the answer says; the outcome and the result, if it is the last one.
local function take(text)
  local value = core.json.decode(text)
  if type(value) ~= "table" then shell.fail(69, "the node answers with what is not JSON: %s", text) end
  if value.output then shell.out(shell.payload(value.output)) end
  return value.outcome, value.result
end

-- Runs a statement: its outcome and result, or "interrupted". A node stops a line whose client has gone.
local function run_line(node, session, line)
  local id, why, code = system.start(node:options("POST", remote.path { "console" }, {
    json = { line = line, session = session }, headers = { Accept = "application/x-ndjson" },
    stream = true, idle = SILENCE, fresh = true,
  }))
  if not id then node:lost(why, code) end
  local parts, body = {}, {}          -- of a line of the answer, and of a refusal
  local _ <close> = setmetatable({}, { __close = function() system.cancel(id) end })
  while true do
    local got, what, value, status = system.next()
    if not got then
      return "interrupted"
    elseif what == "data" and status == 200 then
      for text, ended in value:gmatch("([^\n]*)(\n?)") do
        parts[#parts + 1] = text
        local whole = ended ~= "" and table.concat(parts) or ""
        if ended ~= "" then parts = {} end
        if whole ~= "" then
          local outcome, result = take(whole)
          if outcome then return outcome, result end
        end
      end
    elseif what == "data" then
      body[#body + 1] = value
    elseif what == "failed" then
      node:lost(value, status)
    elseif what == "done" then
      if value.status ~= 200 then remote.refuse { status = value.status, body = table.concat(body) .. value.body } end
      shell.fail(69, "%s: the node has ended before the line did", node:url())
    end
  end
end

-- Shows how a statement ended. The exit code of a script that was it.
local function show(outcome, result)
  if outcome == "interrupted" then
    shell.complain("interrupted")
    return 130
  end
  if outcome == "more" then
    shell.complain("lignum console: the script ends in the middle of a statement")
    return 1
  end
  if outcome == "error" then
    shell.complain("%s", result)
    return 1
  end
  if result ~= "" then shell.out(shell.payload(result) .. "\n") end
  return 0
end

-- What completes names: what the node knows that the last one of a text may become.
local function completion(node, session)
  return function(text)
    local options = { json = { line = text, session = session }, timeout = COMPLETE, fresh = true }
    local answer = node:try("POST", remote.path { "console", "complete" }, options)
    if not answer or answer.status ~= 200 then return "" end
    return table.concat(core.json.decode(answer.body).words, "\n")
  end
end

-- A statement may take several lines; all of it is sent again with each of them.
local function converse(node, session)
  local editor <close> = system.editor(completion(node, session))
  if not editor then shell.fail(70, "the terminal does not support line editing") end
  shell.out("quit or Ctrl-D exits.\n")
  local lines = {}
  while true do
    local line = editor:read(#lines > 0 and MORE or PROMPT)
    if line == nil then
      shell.out("\n")
      return 0
    end
    if #lines == 0 and line and FAREWELL[line:match("^%s*(.-)%s*$")] then return 0 end
    if not line then
      lines = {}
    elseif #lines > 0 or line:find("%S") then
      lines[#lines + 1] = line
      local outcome, result = run_line(node, session, table.concat(lines, "\n"))
      if outcome ~= "more" then
        lines = {}
        show(outcome, result)
        system.interrupted(true)
      end
    end
  end
end

local function read_script(path)
  local file, why = core.unsafe.open(path, "rb")
  if not file then shell.fail(66, "%s", why) end
  local text = file:read("a")
  file:close()
  return text
end

local function run(args, flags)
  flags.url = args[1] and args[1]:find("^https?://") and table.remove(args, 1) or nil     -- else a context names it
  if #args > 1 or args[1] and flags.e then shell.fail(64, "one script, or -e CODE, is run") end
  local node = remote.open(flags)
  for _, url in ipairs(node.urls) do check_url(url) end
  node.cert, node.key = flags.cert or node.cert, flags.key or node.key
  local session = core.crypto.encode(core.crypto.random(8), "hex")
  local code = flags.e or args[1] and read_script(args[1])
  if code then return show(run_line(node, session, code)) end
  if system.terminal(0) then return converse(node, session) end
  return show(run_line(node, session, system.stdin:read("a")))
end

return {
  summary = "a Lua console on a node of this host, or on any", usage = "[PATH | https://HOST:PORT] [SCRIPT | -e CODE]",
  args = { 0, 2 }, run = run,
  flags = {
    { "-e", "CODE", "runs this and exits" },
    { "--context", "NAME", "for a URL: whose token, certificate and authority to use" },
    { "--token-file", "FILE", "for a URL: a token that may admin everything (default: $LIGNUM_TOKEN)" },
    { "--ca", "FILE", "for a URL: certificates of the authorities that https trusts" },
    { "--cert", "FILE", "for a URL: this client's certificate" }, { "--key", "FILE", "and its key" },
  },
  help = "PATH is the node's socket (default: data/console.sock, else the service's), SCRIPT a file with Lua.\n"
    .. "Without SCRIPT, -e and a terminal, standard input is run as a script. Exits with 1 when Lua raised an error.\n"
    .. "A node of another host runs Lua for tokens that may admin everything, and for users who may (console.lua).",
}
