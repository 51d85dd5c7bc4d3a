--- Helpers for the tests in this directory. A test's name is a claim; each test prints one line.
local modules = require "lignum.modules"
local pretty = require "lignum.pretty"
local core = require "lignum.core"
local unsafe = core.unsafe

local M = {}

---The checkout that these scripts belong to.
M.root = package.path:match("^(.-)/scripts/%?%.lua")
if M.root == nil then M.root = package.path:match("^([^;]*)/%?%.lua") .. "/.." end

---Runs one test. `say` is the console's print.
---@param say fun(text: string)
---@param name string
---@param fn fun()
function M.test(say, name, fn)
  local ok, why = xpcall(fn, function(e) return tostring(e) end)
  say(ok and "ok " .. name or ("FAIL %s\n    %s"):format(name, why))
end

local function same(a, b)
  return pretty.format(a) == pretty.format(b)
end

---Checks that two values are formatted equally.
function M.equal(got, want)
  if not same(got, want) then error(("got %s, want %s"):format(pretty.format(got), pretty.format(want)), 2) end
end

---Checks that a text contains `words`.
function M.has(text, words)
  if not tostring(text):find(words, 1, true) then error(("%q is not in %q"):format(words, tostring(text)), 2) end
end

---Checks that a function raises an error that contains `words`.
function M.raises(words, fn, ...)
  local ok, why = pcall(fn, ...)
  if ok then error("no error was raised; expected: " .. words, 2) end
  if not tostring(why):find(words, 1, true) then
    error(("%q is not in the error %q"):format(words, tostring(why)), 2)
  end
end

---Builds a draft with `text` as its lignum.lua. Returns the world and the draft's require, or nil and the error.
---@param text string?
---@param set string[]?
---@return table? world
---@return string|function problem
function M.draft(text, set)
  local own = modules.new().require
  local path = text and unsafe.tmpname()
  if path then
    local file <close> = unsafe.open(path, "w")
    file:write(text)
  end
  local ok, world = pcall(own("lignum.draft").build, { config = path, set = set })
  if path then unsafe.remove(path) end
  if ok then return world, own end
  return nil, (world:gsub(path or "^$", "lignum.lua"))
end

---Checks that each of these is refused as lignum.lua, with an error that has the words beside it.
---@param mistakes table<string, string>   [text of lignum.lua] = words
function M.refused(mistakes)
  for text, words in pairs(mistakes) do
    local _, why = M.draft(text)
    M.has(why, words)
  end
end

-- Replaces the core's function in drafts made here, so that a request may be a table.
local find, know = core.Request.find, core.Request.know

function core.Request.know(req, facts)
  if type(req) ~= "table" then return know(req, facts) end
  for name, value in pairs(facts) do req[name] = value end
end

local judge = core.access.judge

-- A request of check.request shows no token.
function core.access.judge(req, ...)
  if type(req) ~= "table" then return judge(req, ...) end
end

function core.Request.find(req, tree)
  if type(req) ~= "table" then return find(req, tree) end
  local route, allow
  route, allow, req.params = core.walk(tree, req.method, req.path)
  req.id = route and route.id
  return route, allow
end

---A request as a table, for handlers.
---@param method string
---@param path string
---@param headers? table<string, string>
---@param body? string
function M.request(method, path, headers, body)
  return {
    method = method, path = path, target = path, query = {}, headers = headers or {}, body = body or "",
    param = function(self, name) return self.params[name] end,
    header = function(self, name) return self.headers[name:lower()] end,
  }
end

return M
