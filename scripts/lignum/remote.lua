--- A node as subcommands see it: which one is meant (flags, environment, context), requests, and what their failures
--- mean as exit codes.
local core = require "lignum.core"
local near = require "lignum.near"
local shell = require "lignum.shell"
local system = require "lignum.system"

local M = {}

local Node = {}
Node.__index = Node

local USUAL <const> = "http://127.0.0.1:8080"
local TIMEOUT <const> = 75          -- seconds: the longest wait, and a forward
local CONTEXT <const> = { url = "string", token = "string", token_file = "string", ca = "string", cert = "string",
                          key = "string" }

-- Contexts ---------------------------------------------------------------------------------------

local function contexts_path()
  local home = os.getenv("XDG_CONFIG_HOME")
  if not home or home == "" then home = (os.getenv("HOME") or "") .. "/.config" end
  return home .. "/lignum/contexts.lua"
end

local function check_context(path, name, context)
  if type(context) ~= "table" then shell.fail(78, "%s: the context %s is no table", path, name) end
  for key, value in pairs(context) do
    if not CONTEXT[key] then
      shell.fail(78, "%s: %s.%s: no such key%s", path, name, tostring(key),
        near.hint(tostring(key), near.names(CONTEXT)))
    end
    local list = key == "url" and type(value) == "table"
    if not list and type(value) ~= "string" then shell.fail(78, "%s: %s.%s must be a text", path, name, key) end
  end
end

---The contexts by name and the name of the default one; empty without a file.
local function contexts()
  local path = contexts_path()
  local file = core.unsafe.open(path, "rb")
  if not file then return {}, nil, path end
  local text = file:read("a")
  file:close()
  local chunk, why = load(text, "=contexts.lua", "t", {})
  if not chunk then shell.fail(78, "%s", why) end
  local ok, result = pcall(chunk)
  if not ok then shell.fail(78, "%s", tostring(result)) end
  if type(result) ~= "table" then shell.fail(78, "%s must return a table of contexts", path) end
  local default = result.default
  result.default = nil
  for name, context in pairs(result) do check_context(path, tostring(name), context) end
  if default ~= nil and not result[default] then
    shell.fail(78, "%s: default = %s: no such context", path, tostring(default))
  end
  return result, default, path
end

---All contexts: by name, the default's name, the path of their file.
M.contexts = contexts

local function find_context(name)
  local all, default, path = contexts()
  if name and not all[name] then
    shell.fail(78, "no context %s in %s%s", name, path, near.hint(name, near.names(all)))
  end
  return all[name or default]
end

local function read_secret(path)
  local file, why = core.unsafe.open(path, "rb")
  if not file then shell.fail(78, "%s", why) end
  local secret = file:read("a"):match("^%s*(%S+)%s*$")
  file:close()
  return secret or shell.fail(78, "%s has no secret", path)
end

-- Which node -------------------------------------------------------------------------------------

local function urls_of(text)
  local list = {}
  for url in (type(text) == "table" and table.concat(text, ",") or text):gmatch("[^,%s]+") do
    if not url:find("^%a+://") then url = "http://" .. url end
    list[#list + 1] = url:gsub("/+$", "")
  end
  if #list == 0 then shell.fail(64, "--url names no node") end
  return list
end

local function given(text) return text ~= "" and text or nil end

---The node that flags, environment and contexts name, in this order. A context's token goes to its own node only.
---@param flags table
function M.open(flags)
  local url, token = flags.url, given(os.getenv("LIGNUM_TOKEN"))
  local context = flags.context and find_context(flags.context)
  if not url and not context then url = given(os.getenv("LIGNUM_URL")) end
  if not url and not context then context = find_context(nil) end
  local from = not flags.url and context or {}
  if flags.token_file then
    token = read_secret(flags.token_file)
  elseif flags.context or not token then
    token = from.token or from.token_file and read_secret(from.token_file) or token
  end
  return setmetatable({
    urls = urls_of(url or from.url or USUAL), at = 1, token = token,
    ca = flags.ca or from.ca, cert = from.cert, key = from.key,
  }, Node)
end

---The URL that is used at present.
function Node:url() return self.urls[self.at] end

---The next of several URLs is used from now on.
function Node:turn() self.at = self.at % #self.urls + 1 end

-- Requests ---------------------------------------------------------------------------------------

local function encode(text)
  return (tostring(text):gsub("[^%w._~-]", function(c) return ("%%%02X"):format(c:byte()) end))
end

---A path of parts and a query: path({ "topics", name }, { from = 0 }) is "/v1/topics/NAME?from=0".
function M.path(parts, query)
  local list, names = {}, near.names(query or {})
  for i, part in ipairs(parts) do list[i] = encode(part) end
  local words = {}
  for i, name in ipairs(names) do words[i] = name .. "=" .. encode(query[name]) end
  return "/v1/" .. table.concat(list, "/") .. (#words > 0 and "?" .. table.concat(words, "&") or "")
end

---The options of system.start for a request to the present URL.
---@param options? table  body, json, headers (by name), timeout, idle, stream, fresh
function Node:options(method, path, options)
  options = options or {}
  local headers, body = {}, options.body
  for name, value in pairs(options.headers or {}) do headers[#headers + 1] = name .. ": " .. value end
  if options.json then
    body = core.json.encode(options.json)
    headers[#headers + 1] = "Content-Type: application/json"
  end
  if self.token then headers[#headers + 1] = "Authorization: Bearer " .. self.token end
  return {
    url = self:url() .. path, method = method, headers = headers, body = body, stream = options.stream,
    timeout = options.timeout or not options.stream and TIMEOUT or nil, idle = options.idle,
    ca = self.ca, cert = self.cert, key = self.key, fresh = options.fresh,
  }
end

local EXIT_OF_STATUS <const> = {
  [401] = 77, [403] = 77, [404] = 66, [408] = 75, [410] = 66, [421] = 69, [429] = 75, [500] = 70, [501] = 70,
  [502] = 75, [503] = 75, [504] = 75, [507] = 75,
}

---The problem object of an answer, for a sentence.
function M.problem(answer)
  local ok, problem = pcall(core.json.decode, answer.body)
  if not ok or type(problem) ~= "table" then problem = nil end
  return problem or { code = "http_" .. answer.status, detail = ("HTTP status %d"):format(answer.status) }
end

---Ends the command with what an answer says, after `before`.
function M.refuse(answer, before)
  local problem = M.problem(answer)
  local exit = EXIT_OF_STATUS[answer.status] or 65
  if problem.code and problem.code:find("_exists$") then exit = 73 end
  if answer.status == 404 and problem.code == "not_found" then exit = 69 end    -- no Lignum, or an older one
  shell.fail(exit, "%s%s", before or "", problem.detail or problem.title or problem.code)
end

---Ends the command with why a request got no answer.
function Node:lost(why, code)
  if code == "interrupted" then shell.fail(130) end
  shell.fail((code == "bad_value" or code == "no_libcurl") and 64 or 69, "%s: %s", self:url(), why)
end

---An answer of whatever status, or nil, why, code when there is none. `options.shielded`: it goes on after Ctrl-C.
---@return { status: integer, headers: table<string, string>, body: string }?
function Node:try(method, path, options)
  local id, why, code = system.start(self:options(method, path, options))
  if not id then return nil, why, code end
  while true do
    local got, what, value, kind = system.next(nil, options and options.shielded)
    if not got then
      system.cancel(id)
      return nil, what, value
    elseif got == id and what == "done" then
      return value
    elseif got == id and what == "failed" then
      return nil, value, kind
    end
  end
end

---An answer of status 2xx; any other ends the command. With several URLs, one that cannot be reached gives way to the
---next. nil: refused with the code `options.except`.
function Node:request(method, path, options)
  local answer, why, code
  for _ = 1, #self.urls do
    answer, why, code = self:try(method, path, options)
    if answer or code ~= "unreachable" then break end
    self:turn()
  end
  if not answer then self:lost(why, code) end
  if answer.status >= 200 and answer.status <= 299 then return answer end
  if not options or not options.except or M.problem(answer).code ~= options.except then M.refuse(answer) end
end

---The JSON of an answer of status 2xx.
function Node:json(method, path, options)
  local answer = self:request(method, path, options)
  local value, why = core.json.decode(answer.body)
  if value == nil then shell.fail(69, "%s answers with what is not JSON: %s", self:url(), why) end
  return value
end

---Each node of this one's cluster, by itself, as nodes tell their addresses.
---@return table[]
function Node:members()
  local list = {}
  for _, member in ipairs(self:json("GET", M.path { "cluster" }).nodes) do
    if member.http and member.http ~= core.json.null then
      if self:url():find("^https:") and not member.http:find("^https:") then
        shell.fail(77, "%s is reached by https, and says that %s is at %s: nothing is sent there without TLS "
          .. "(node.advertise)", self:url(), member.name, member.http)
      end
      list[#list + 1] = setmetatable({ urls = { member.http }, name = member.name, at = 1 }, { __index = self })
    end
  end
  return #list > 1 and list or { self }
end

return M
