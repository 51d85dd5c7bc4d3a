--- The web console (doc/console.md): /console and its files, which are in scripts/web/, and /v1/console, which runs a
--- line of Lua as `lignum console` does.
---
--- The files are read when they are asked for, and served to everybody: they hold nothing of this node. What they show,
--- they ask for by the interface that all clients have.
local core = require "lignum.core"
local http = require "lignum.http"
local route = require "lignum.route"

local M = {}

local SCRIPT <const>, STYLE <const> = "text/javascript; charset=utf-8", "text/css; charset=utf-8"
M.FILES = {
  ["index.html"] = "text/html; charset=utf-8", ["icon.svg"] = "image/svg+xml", ["console.css"] = STYLE,
  ["api.js"] = SCRIPT, ["app.js"] = SCRIPT, ["groups.js"] = SCRIPT, ["health.js"] = SCRIPT,
  ["hooks.js"] = SCRIPT, ["lignum.js"] = SCRIPT, ["live.js"] = SCRIPT, ["lua.js"] = SCRIPT,
  ["messages.js"] = SCRIPT, ["overview.js"] = SCRIPT, ["topics.js"] = SCRIPT, ["ui.js"] = SCRIPT,
}
local POLICY <const> = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
  .. "worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
local LINE = { line = "string", session = "string?" }
local RUN <const>, COMPLETE <const> = 600, 10      -- seconds that a line, and a completion, may take

-- What a line may fail with that is not caught, such as one that never ends.
local LOOK <const>, SAID <const> = 0.03, 0.3      -- seconds between two looks for output, and of silence
local FAILED <const> = { script_error = true, script_timeout = true, script_memory = true, timeout = true }

local folder                       -- of the files, with its slash

local function answer(req, name)
  local kind = M.FILES[name]
  if not kind then return http.fail("not_found", "the console has no such file") end
  local text, problem = core.read_file(folder .. name)
  if not text then return http.fail("internal", "the web console: " .. problem) end
  local headers = {
    ["Content-Type"] = kind, ["Content-Security-Policy"] = POLICY, ["X-Content-Type-Options"] = "nosniff",
    ["Referrer-Policy"] = "no-referrer", ["Cross-Origin-Opener-Policy"] = "same-origin",
    ["Cache-Control"] = "no-cache", ETag = '"' .. core.crypto.encode(core.crypto.sha256(text), "hex"):sub(1, 32) .. '"',
  }
  if req:header("if-none-match") == headers.ETag then return 304, nil, headers end
  return 200, text, headers
end

---`GET /console`
---@param req lignum.Request
function M.page(req)
  return answer(req, "index.html")
end

---`GET /console/{file}`
---@param req lignum.Request
function M.file(req)
  return answer(req, req:param("file"))
end

-- Lua ----------------------------------------------------------------------------------------------

local runs_lua     -- console.lua: nil: for tokens that may admin everything; true: also without tokens; false: never

-- Whether a request came so that nobody on the way reads it.
local function is_private(req)
  return req.secure or req.peer:find("^127%.") ~= nil or req.peer:find("^%[::1%]") ~= nil
end

-- Whether a request that may `admin` everything may also run Lua, which is to do whatever this process may do. Whoever
-- has no name could be any user of this host.
local function may_run(req)
  if runs_lua ~= nil then return runs_lua end
  return (req.token or req.user) ~= nil and is_private(req)
end

local function refuse(req)
  return http.fail("forbidden", runs_lua == false and "console.lua is false in lignum.lua"
    or not is_private(req) and "Lua runs over https only; console { lua = true } allows it without"
    or "Lua runs for access tokens and named users only; console { lua = true } allows it without")
end

local function who_is(req)
  return req.token and "token " .. req.token or req.user and "user " .. req.user or "anonymous"
end

-- Sessions belong to who has begun them.
local function session_of(req, name)
  return ("%s/%s"):format(req.token or req.user or "", name or "")
end

-- Sends what a line prints while it runs, as lines of JSON, and at last its outcome. A blank line says that it still
-- runs; that is also how a client that has gone is noticed, and then the line ends.
local function stream(session, line, who, from)
  return function(write)
    local done
    local id, why = core.spawn(function()
      done = table.pack(core.ask(RUN, "repl_line", session, line, who, from, true))
    end)
    local _ <close> = setmetatable({}, { __close = function()
      if id and not done then core.tasks.cancel(id) end
    end })
    if not id then done = { nil, why, "busy" } end
    local function send(value) return write(core.json.encode(value) .. "\n") end
    local said = core.time.clock()
    while not done do
      core.sleep(LOOK)
      local text = core.call("repl_output", session)
      local silent = text == "" and core.time.clock() - said > SAID
      if text ~= "" or silent then said = core.time.clock() end
      if text ~= "" and not send { output = http.printable(text) } or silent and not write("\n") then return end
    end
    local outcome, result, output = done[1], done[2], done[1] and done[3] or ""
    if output ~= "" then send { output = http.printable(output) } end
    send { outcome = outcome or "error", result = http.printable(result or "") }
  end
end

---`POST /v1/console`: runs a line.
---@param req lignum.Request
function M.run(req)
  if not may_run(req) then return refuse(req) end
  local body, why, code, more = req:json(LINE)
  if not body then return http.fail(code, why, more) end
  local who, session = who_is(req), session_of(req, body.session)
  if (req:header("accept") or ""):find("application/x-ndjson", 1, true) then
    return 200, stream(session, body.line, who, req.peer), "application/x-ndjson"
  end
  local outcome, result, output = core.ask(RUN, "repl_line", session, body.line, who, req.peer)
  if not outcome and not FAILED[output] then return http.fail(output, result) end
  if not outcome then outcome, output = "error", "" end
  return 200, { outcome = outcome, result = http.printable(result or ""), output = http.printable(output) }
end

---`POST /v1/console/complete`: completes the last word of a line.
---@param req lignum.Request
function M.complete(req)
  if not may_run(req) then return refuse(req) end
  local body, why, code, more = req:json(LINE)
  if not body then return http.fail(code, why, more) end
  local words
  words, why, code = core.ask(COMPLETE, "repl_complete", session_of(req, body.session), body.line)
  if not words then return http.fail(code, why) end
  return 200, { words = core.json.array(words) }
end

---Whether a request may run Lua, as far as that follows from the node and its token.
M.may_run = may_run

local ADMIN <const> = { action = "admin", all = true }

---Declares the routes that lignum.lua does not have itself.
---@param options { web: boolean, lua: boolean? }   `console` of lignum.lua
---@return string? path   of the console, if there is one
function M.declare(options)
  runs_lua = options.lua
  route.declare("POST", "/v1/console", M.run, "console", ADMIN)
  route.declare("POST", "/v1/console/complete", M.complete, "console", ADMIN)
  if not options.web or route.has("GET", "/console") then return nil end
  folder = package.searchpath("lignum.route", package.path):match("^(.*)/lignum/route%.lua$") .. "/web/"
  local open = { action = "observe", open = true }
  route.declare("GET", "/console", M.page, "console", open)
  route.declare("GET", "/console/{file}", M.file, "console", open)
  return "/console"
end

return M
