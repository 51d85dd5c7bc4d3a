--- Routes: which handler answers METHOD /path/{name}.
---
--- Paths without names are found in one table; the others in a tree by segment, where a literal
--- segment goes before a {name}. The tables belong to one draft (modules.lua), so a reload never
--- mixes old and new routes.
local core = require "lignum.core"
local hooks = require "lignum.hooks"
local http = require "lignum.http"

local find, sub = string.find, string.sub

local M = {}

local OPEN <const> = "/healthz"     -- Consul asks for it, without credentials, and it says nothing
local authorize      ---@type fun(req: lignum.Request): any, string?, string?   the operator's hook, if there is one
local sealed = false -- true once the draft is complete

---@class lignum.Route
---@field id integer        of its counters
---@field method string
---@field path string
---@field names string[]
---@field fn function
---@field place string

local exact = {}                     -- [path] = { [method] = route }
-- A node: literal = { [segment] = node }, named = the node of a {name}, methods = { [method] = route }.
local tree = { literal = {} }
local all = {}                       ---@type lignum.Route[]

-- Registering ----------------------------------------------------------------------------------

local function names_in(path)
  local names = {}
  for name in path:gmatch("{([^}]*)}") do names[#names + 1] = name end
  return names
end

local function check_path(path)
  if type(path) ~= "string" or sub(path, 1, 1) ~= "/" then
    error(("route %s: a path begins with /"):format(tostring(path)), 4)
  end
  local plain = path:gsub("/{[%a_][%w_]*}%f[/\0]", "/")
  if find(plain, "[{}%s?#]") then
    error(("route %s: a {name} is a whole segment of letters, digits and _; no ? # or space"):format(path), 4)
  end
end

local function methods_at(path, names)
  if #names == 0 then
    exact[path] = exact[path] or {}
    return exact[path]
  end
  local node = tree
  for segment in path:gmatch("/([^/]*)") do
    if sub(segment, 1, 1) == "{" then
      node.named = node.named or { literal = {} }
      node = node.named
    else
      node.literal[segment] = node.literal[segment] or { literal = {} }
      node = node.literal[segment]
    end
  end
  node.methods = node.methods or {}
  return node.methods
end

local function add(method, path, fn, place)
  check_path(path)
  if type(fn) ~= "function" then error(("route %s %s wants a function"):format(method, path), 3) end
  if sealed then error("routes can be declared only while lignum.lua is being loaded", 3) end
  local names = names_in(path)
  local methods = methods_at(path, names)
  local other = methods[method]
  if other then
    error(("route %s %s is declared already, at %s"):format(method, path, other.place), 3)
  end
  local route = {
    id = core.route(method .. " " .. path), method = method, path = path, names = names, fn = fn, place = place,
  }
  methods[method] = route
  all[#all + 1] = route
end

for _, method in ipairs { "GET", "POST", "PUT", "PATCH", "DELETE" } do
  M[method:lower()] = function(path, fn) add(method, path, fn, core.caller(2)) end
end

---Ends registering, and takes the hook that lignum.lua has defined.
function M.seal()
  sealed = true
  authorize = hooks.get("authorize")
end

---All routes, in the order of their declaration.
---@return lignum.Route[]
function M.list()
  return all
end

-- Matching -------------------------------------------------------------------------------------

local function descend(node, path, at, values, depth)
  local slash = find(path, "/", at, true)
  local segment = sub(path, at, (slash or 0) - 1)
  local next_node = node.literal[segment]
  if next_node then
    local methods = slash and descend(next_node, path, slash + 1, values, depth) or not slash and next_node.methods
    if methods then return methods end
  end
  next_node = node.named
  if next_node and segment ~= "" then
    values[depth] = segment
    if slash then return descend(next_node, path, slash + 1, values, depth + 1) end
    return next_node.methods
  end
end

local function params_of(route, values)
  local names = route.names
  local params = {}                   -- of this request alone: hooks and handlers may write into it
  for i = 1, #names do params[names[i]] = values[i] end
  return params
end

local function allow(methods)
  local names = { "OPTIONS" }
  for method in pairs(methods) do names[#names + 1] = method end
  if methods.GET then names[#names + 1] = "HEAD" end
  table.sort(names)
  return table.concat(names, ", ")
end

local function wrong_method(methods, method)
  if method == "OPTIONS" then return 204, nil, { Allow = allow(methods) } end
  local status, body, headers = http.fail("method_not_allowed", "this path takes " .. allow(methods))
  headers.Allow = allow(methods)
  return status, body, headers
end

-- Answering ------------------------------------------------------------------------------------

-- The answer to a request that the operator's hook does not let through, or nothing.
local function refused(req)
  local allowed, code, detail = hooks.call("authorize", req)
  if allowed == true then return nil end
  if allowed then hooks.complain("authorize", "must return true or false, not a " .. type(allowed)) end
  if not code then code = req:header("authorization") and "forbidden" or "unauthorized" end
  return http.fail(code, detail)
end

-- Walking the tree costs more than the rest of routing; most requests ask for a few paths again and again.
local walked, walked_count = {}, 0     -- [path] = { methods =, values = }
local WALKED_MAX <const> = 1024

local function walk(path)
  local values = {}
  local methods = descend(tree, path, 2, values, 1)
  if not methods then return nil end
  if walked_count == WALKED_MAX then walked, walked_count = {}, 0 end
  walked_count = walked_count + 1
  walked[path] = { methods = methods, values = values }
  return walked[path]
end

---Answers a request.
---@param req lignum.Request
---@return integer status
---@return any body
---@return table? headers
function M.handle(req)
  local path, method = req.path, req.method
  local methods, values = exact[path], nil
  if not methods then
    local found = walked[path] or walk(path)
    if not found then return http.fail("not_found") end
    methods, values = found.methods, found.values
  end
  local route = methods[method] or method == "HEAD" and methods.GET
  if not route then return wrong_method(methods, method) end
  req:routed(route.id, params_of(route, values))

  if authorize and path ~= OPEN then
    local status, body, headers = refused(req)
    if status then return status, body, headers end
  end
  local status, body, headers = route.fn(req)
  if status then return status, body, headers end
  if body then return http.fail(headers or "internal", body) end     -- nil, message, code
  error(("%s: the handler of %s %s returned no status"):format(route.place, route.method, route.path), 0)
end

return M
