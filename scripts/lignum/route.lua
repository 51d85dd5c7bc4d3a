--- Routes: declares the handler of METHOD /path/{name}, and calls it.
---
--- The core finds the route of a path, segment by segment, in a tree of all routes (core.tree). A literal segment takes
--- precedence over a {name}. The tree belongs to one draft (modules.lua), so a reload never mixes old and new routes.
local audit = require "lignum.audit"
local core = require "lignum.core"
local hooks = require "lignum.hooks"
local http = require "lignum.http"
local near = require "lignum.near"
local paths = require "lignum.paths"
local roster = require "lignum.roster"

local find, sub = string.find, string.sub
local find_route, know = core.Request.find, core.Request.know

local M = {
  operators = false,     -- whether the routes that are declared now are the operator's
}

local judge, changes = core.access.judge, core.access.changes
local admit, owes, log = core.access.admit, core.access.owes, core.access.log

-- Served to everybody: Consul and load balancers ask without credentials. seal() adds what lignum.lua says.
local OPEN = { ["/healthz"] = true, ["/readyz"] = true }
local PROBES <const> = { ["/healthz"] = true, ["/readyz"] = true }       -- which nothing is put around
local authorize      ---@type fun(req: lignum.Request): any, string?, string?   the operator's hook, if defined
local audited        ---@type boolean?   access.audit
local logged         ---@type boolean    log.requests
local sealed = false -- true once the draft is complete

---@class lignum.Route
---@field id integer        of the route's counters
---@field open boolean?     served to everybody
---@field closed boolean?   set when the operator's code runs in it; true: so is its handler (core.operator_code)
---@field method string
---@field path string
---@field fn function
---@field place string
---@field action string|fun(req: lignum.Request): string   what a request to it does, for authorize
---@field topic fun(req: lignum.Request): string?   which topic it is about, for authorize
---@field all boolean?      a token needs the action on all topics
---@field open boolean?     whoever asks is let in, and the route judges by credentials of its own
---@field also? fun(req: lignum.Request): { [1]: string, [2]: string }[]   what else it does: actions and topics
---@field about? fun(req: lignum.Request): string?   what else the audit names
---@field undo? fun(req: lignum.Request, body: any)   what its answer gave, when that must not be sent any more

local all = {}                       ---@type lignum.Route[]
local declared = {}                  ---@type table<string, lignum.Route>   by method and path, with {} for each {name}
local tree                           -- built by seal(), from all routes

-- Registering ----------------------------------------------------------------------------------

local function check_path(path)
  if type(path) ~= "string" or sub(path, 1, 1) ~= "/" then
    error(("route %s: a path must begin with /"):format(tostring(path)), 4)
  end
  local plain = path:gsub("/{[%a_][%w_]*%.%.%.}$", "/"):gsub("/{[%a_][%w_]*}%f[/\0]", "/")
  if find(plain, "[{}%s?#]") then
    local rule <const> = "a {name} must be a whole segment of letters, digits and _, only the last one {name...}; "
    error(("route %s: %s? # and space are not allowed"):format(path, rule), 4)
  end
end

local ACTIONS <const> = { read = true, publish = true, consume = true, admin = true, observe = true, own = true }

local function topic_in_path(req)
  return req:param("topic")
end

-- What a route is declared to do. Without a word on it: own, to the topic in its path.
local function check_access(access, method, path)
  access = access or {}
  local action, of = access.action or "own", access.topic or topic_in_path
  local ours = not M.operators and (type(action) == "function" or action == "any")
  if not ACTIONS[action] and not ours then
    error(("route %s %s: action must be read, publish, consume, admin, observe or own"):format(method, path), 4)
  end
  if type(of) ~= "function" then error(("route %s %s: topic must be a function"):format(method, path), 4) end
  return action, of
end

local function add(method, path, fn, place, access)
  check_path(path)
  if type(fn) ~= "function" then error(("route %s %s needs a function"):format(method, path), 3) end
  if sealed then error("routes can be declared only while lignum.lua is loaded", 3) end
  local shape, names = path:gsub("{[^}]*%.%.%.}", "{...}"):gsub("{[^.}]*}", "{}")
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
  route.action, route.topic = check_access(access, method, path)
  if access and not M.operators then
    route.all, route.also, route.undo, route.open = access.all, access.also, access.undo, access.open
  end
  route.about = access and access.about
  if M.operators then route.closed = true end
  declared[key] = route
  all[#all + 1] = route
end

for _, method in ipairs { "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS" } do
  M[method:lower()] = function(path, fn, access) add(method, path, fn, core.caller(2), access) end
end

---Declares a route for a caller that knows where it stands.
---@param method string
---@param path string
---@param fn function
---@param place string
---@param access? table
function M.declare(method, path, fn, place, access)
  add(method, path, fn, place, access)
end

-- Around handlers ------------------------------------------------------------------------------

local uses, wraps = {}, {}         -- functions around all routes; { fn =, place = } by method and path

local function check_around(verb, fn)
  if sealed then error(verb .. " can be used only while lignum.lua is loaded", 3) end
  if type(fn) ~= "function" then error(verb .. " needs a function", 3) end
end

---Puts a function around all routes.
---@param fn fun(req: lignum.Request, next: function)
function M.use(fn)
  check_around("route.use", fn)
  uses[#uses + 1] = fn
end

---Puts a function around one route.
---@param pattern string   "GET /v1/topics/{topic}"
---@param fn fun(req: lignum.Request, next: function)
function M.wrap(pattern, fn)
  check_around("route.wrap", fn)
  wraps[pattern] = wraps[pattern] or {}
  table.insert(wraps[pattern], { fn = fn, place = core.caller(2) })
end

-- The answer to a request whose handler returned no status but nil, message, code and further members.
local function failed(route, why, code, more)
  if why then return http.fail(code or "internal", why, type(more) == "table" and more or nil) end
  error(("%s: the handler of %s %s returned no status"):format(route.place, route.method, route.path), 0)
end

-- Puts what was declared around a handler: the first one declared outermost.
local function surround(route)
  local inner = route.fn
  local around = table.move(wraps[route.method .. " " .. route.path] or {}, 1, 100, #uses + 1, {})
  for i, fn in ipairs(uses) do around[i] = { fn = fn } end
  for i = #around, 1, -1 do
    local outer, within = around[i].fn, inner
    local function next_one(req)
      local status, body, headers, more = within(req)
      if status then return status, body, headers end
      return failed(route, body, headers, more)
    end
    inner = function(req) return outer(req, next_one) end
  end
  if #around > 0 and route.closed == nil then route.closed = false end
  route.fn = inner
end

local function surround_all()
  local known = {}
  for _, route in ipairs(all) do
    known[#known + 1] = route.method .. " " .. route.path
    known[known[#known]] = true
    if not PROBES[route.path] then surround(route) end
  end
  for pattern, list in pairs(wraps) do
    if not known[pattern] then
      error(("%s: route.wrap: there is no route %s%s"):format(list[1].place, pattern, near.hint(pattern, known)), 0)
    end
  end
end

---Builds the tree of routes and reads the hook `authorize`. No route can be declared after this.
---@param access { metrics: boolean, audit: boolean? }   of lignum.lua
---@param requests boolean    log.requests: each answer is a line of the log
function M.seal(access, requests)
  sealed = true
  logged = requests
  OPEN["/metrics"] = access.metrics
  audited = access.audit
  surround_all()
  tree = core.tree(all)
  authorize = hooks.get("authorize")
end

-- Handlers by the number of their route, for which M.handle would do nothing but call them: those of the broker, with
-- nothing around them, where no request is judged by `authorize`, audited or logged.
local function plain_handlers()
  if audited or logged then return nil end
  local handlers = {}
  for i, route in ipairs(all) do
    handlers[i] = route.closed == nil and route.fn     -- such a one returns a status, also for a failure
  end
  return handlers
end

---The core refuses requests for which there is no route before their body is read, and calls plain handlers itself,
---unless `authorize` has to be asked before anything tells which paths there are.
function M.serve()
  if authorize then core.serve(nil) else core.serve(tree, plain_handlers()) end
end

---Whether a route is declared.
---@param method string
---@param path string   without {names}
---@return boolean
function M.has(method, path)
  return declared[method .. " " .. path] ~= nil
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

-- Asks the access tokens, then the hook `authorize`, whether a request may do one thing. Nothing if it may, else the
-- answer. `facts` is what the request says of itself meanwhile.
local function refused_one(req, facts, everywhere)
  local token, why, code = judge(req, facts.action, facts.topic, everywhere, authorize ~= nil)
  if code then return http.fail(code, why) end
  facts.token, facts.user = token, token
  know(req, facts)
  if not authorize then return nil end
  local allowed, refusal, detail = hooks.call("authorize", req)
  if type(allowed) == "table" then
    facts.user = allowed.user
    if type(facts.user) ~= "string" then hooks.complain("authorize", "must return a user that is a string") end
    know(req, facts)
    return nil
  end
  if allowed == true then return nil end
  if allowed then hooks.complain("authorize", "must return true, false or { user = }, not a " .. type(allowed)) end
  return http.fail(refusal or req:header("authorization") and "forbidden" or "unauthorized", detail)
end

-- The answer to a request that is not let in, or nothing. It is asked before any answer tells which paths exist: also
-- for a path or method without a route. What a route does to other topics than its own is asked for each.
local function refused(req, route)
  if not route then return refused_one(req, {}) end
  for _, more in ipairs(route.also and route.also(req) or {}) do
    local status, body, headers = refused_one(req, { action = more[1], topic = more[2] })
    if status then return status, body, headers end
  end
  local action = route.action
  if type(action) == "function" then action = action(req) end
  if action == "any" then action = nil end          -- what every token may
  return refused_one(req, { action = action, topic = route.topic(req) }, route.all)
end

local AGAIN <const> = 60     -- seconds after which a stream is judged again, even if no token has come or gone

-- A body that streams only for as long as its request would be let in. What it writes reaches the client before it is
-- judged again only if the tokens are the same; a stream says something every 15 seconds. It pauses while its client is
-- over the limit of bytes.
local function judged_stream(req, route, body, headers, limited)
  local seen, last = changes(), core.time.clock()
  return function(write)
    local ended = false
    return body(function(piece)
      if ended then return false end
      if changes() ~= seen or core.time.clock() - last >= AGAIN then
        seen, last = changes(), core.time.clock()
        local status, problem = refused(req, route)
        if status then
          ended = true
          local kind = type(headers) == "table" and headers["Content-Type"] or headers
          if kind == "text/event-stream" then write("event: error\ndata: " .. core.json.encode(problem) .. "\n\n") end
          return false
        end
      end
      local there = write(piece)
      local pause = there and limited and owes(req) or 0
      if pause > 0 then core.sleep(pause) end
      return there
    end)
  end
end

-- Answers a request that is let in. What it has waited for is sent only if it would still be.
local function answer_judged(req, route, limited)
  local seen = changes()
  local status, body, headers, rest = route.fn(req)
  if not status then return failed(route, body, headers, rest) end
  if type(body) == "function" then return status, judged_stream(req, route, body, headers, limited), headers end
  if changes() ~= seen and (route.action == "read" or route.action == "consume") then
    local now, problem, more = refused(req, route)
    if now then
      if route.undo then route.undo(req, body) end
      return now, problem, more
    end
  end
  return status, body, headers
end

local function answer_noted(req, route, limited)
  local status, body, headers = answer_judged(req, route, limited)
  if req.action == "admin" and req.method ~= "GET" and audit.is_on(audited) then
    audit.done(req, status, route.about and route.about(req))
  end
  return status, body, headers
end

-- Whether another node forwards the request: it has counted it as its client's. A token is counted by both.
local function is_forwarded(req)
  if not req:header("lignum-forwarded") or req:header("authorization") then return false end
  local host = req.peer:match("^(.*):%d+$")
  for _, node in ipairs(roster.nodes(roster.status())) do
    if node.http and node.http:match("^(.*):%d+$") == host then return true end
  end
  return false
end

-- The answer to a request whose client is over a limit of its own, or nothing.
local function over_limit(req)
  if is_forwarded(req) then return nil end
  local _, why, code, seconds = admit(req)
  if not code then return nil end
  local status, body, headers = http.fail(code, why)
  headers["Retry-After"] = ("%d"):format(seconds)
  return status, body, headers
end

---Answers a request.
---@param req lignum.Request
---@return integer status
---@return any body
---@return table? headers
function M.handle(req)
  local route, allow, asks, limited = find_route(req, tree)
  local closed = (authorize or asks or limited or audited) and not (route and (route.open or OPEN[route.path]))
  if closed then
    local status, body, headers
    if limited then status, body, headers = over_limit(req) end
    if route and route.open then
      closed = false
    elseif not status then
      status, body, headers = refused(req, route)
      if logged then log(req, req.user, route and route.topic(req)) end
      if status and audit.is_on(audited) then audit.refused(req, status) end
    end
    if status then return status, body, headers end
  end
  if not route then
    if not allow then return paths.answer(req, tree, all) end
    return wrong_method(allow, req.method)
  end
  if logged and not closed then log(req, req.user, route.topic(req)) end
  if route.closed ~= nil then core.operator_code(route.closed) end
  if closed then return answer_noted(req, route, limited) end
  local status, body, headers, more = route.fn(req)
  if status then return status, body, headers end
  return failed(route, body, headers, more)
end

return M
