--- Routes: declares the handler of METHOD /path/{name}, and calls it.
---
--- The core finds the route of a path, segment by segment, in a tree of all routes (core.tree). A literal segment takes
--- precedence over a {name}. The tree belongs to one draft (modules.lua), so a reload never mixes old and new routes.
local core = require "lignum.core"
local hooks = require "lignum.hooks"
local http = require "lignum.http"

local find, sub = string.find, string.sub
local find_route = core.Request.route

local M = {}

local OPEN <const> = "/healthz"     -- not authorized: Consul requests it without credentials; it discloses nothing
local authorize      ---@type fun(req: lignum.Request): any, string?, string?   the operator's hook, if defined
local sealed = false -- true once the draft is complete

---@class lignum.Route
---@field id integer        of the route's counters
---@field method string
---@field path string
---@field fn function
---@field place string

local all = {}                       ---@type lignum.Route[]
local declared = {}                  ---@type table<string, lignum.Route>   by method and path, with {} for each {name}
local tree                           -- built by seal(), from all routes

-- Registering ----------------------------------------------------------------------------------

local function check_path(path)
  if type(path) ~= "string" or sub(path, 1, 1) ~= "/" then
    error(("route %s: a path must begin with /"):format(tostring(path)), 4)
  end
  local plain = path:gsub("/{[%a_][%w_]*}%f[/\0]", "/")
  if find(plain, "[{}%s?#]") then
    error(("route %s: a {name} must be a whole segment of letters, digits and _; ? # and space are not allowed"):format(
      path), 4)
  end
end

local function add(method, path, fn, place)
  check_path(path)
  if type(fn) ~= "function" then error(("route %s %s needs a function"):format(method, path), 3) end
  if sealed then error("routes can be declared only while lignum.lua is loaded", 3) end
  local shape, names = path:gsub("{[^}]*}", "{}")
  if names > core.limits.route_names_max then
    error(("route %s: has more than %d names"):format(path, core.limits.route_names_max), 3)
  end
  local key = method .. " " .. shape
  local other = declared[key]
  if other then
    error(("route %s %s is already declared, at %s"):format(method, path, other.place), 3)
  end
  local route = {
    id = core.route(method .. " " .. path), method = method, path = path, fn = fn, place = place,
  }
  declared[key] = route
  all[#all + 1] = route
end

for _, method in ipairs { "GET", "POST", "PUT", "PATCH", "DELETE" } do
  M[method:lower()] = function(path, fn) add(method, path, fn, core.caller(2)) end
end

---Builds the tree of routes and reads the hook `authorize`. No route can be declared after this.
function M.seal()
  sealed = true
  tree = core.tree(all)
  authorize = hooks.get("authorize")
end

---The core refuses requests for which there is no route before their body is read.
function M.serve()
  core.serve(tree)
end

---All routes, in the order of their declaration.
---@return lignum.Route[]
function M.list()
  return all
end

-- Matching -------------------------------------------------------------------------------------

local function wrong_method(allow, method)
  if method == "OPTIONS" then return 204, nil, { Allow = allow } end
  local status, body, headers = http.fail("method_not_allowed", "this path supports " .. allow)
  headers.Allow = allow
  return status, body, headers
end

-- Answering ------------------------------------------------------------------------------------

-- The answer to a request that the hook `authorize` rejects, or nothing.
local function refused(req)
  local allowed, code, detail = hooks.call("authorize", req)
  if allowed == true then return nil end
  if allowed then hooks.complain("authorize", "must return true or false, not a " .. type(allowed)) end
  if not code then code = req:header("authorization") and "forbidden" or "unauthorized" end
  return http.fail(code, detail)
end

---Answers a request.
---@param req lignum.Request
---@return integer status
---@return any body
---@return table? headers
function M.handle(req)
  local route, allow = find_route(req, tree)
  if not route then
    if not allow then return http.fail("not_found") end
    return wrong_method(allow, req.method)
  end

  if authorize and route.path ~= OPEN then
    local status, body, headers = refused(req)
    if status then return status, body, headers end
  end
  local status, body, headers, more = route.fn(req)
  if status then return status, body, headers end
  if body then return http.fail(headers or "internal", body, type(more) == "table" and more or nil) end
  error(("%s: the handler of %s %s returned no status"):format(route.place, route.method, route.path), 0)
end

return M
