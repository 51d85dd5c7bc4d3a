--- A draft: the configuration, hooks and routes of one lignum.lua before they are live.
---
--- Each draft has its own copies of all modules (modules.lua). build() either returns a world or raises one string with
--- an error on each line.
local access = require "lignum.access"
local config = require "lignum.config"
local core = require "lignum.core"
require "lignum.each"      -- adds topic:each
local fetch = require "lignum.fetch"
local forward = require "lignum.forward"
local globals = require "lignum.globals"
local help = require "lignum.help"
local hooks = require "lignum.hooks"
local http = require "lignum.http"
local jwt = require "lignum.jwt"
local modules = require "lignum.modules"
local policy = require "lignum.policy"
local pretty = require "lignum.pretty"
local publish = require "lignum.publish"
local roster = require "lignum.roster"
local route = require "lignum.route"
local schedule = require "lignum.schedule"
local schema = require "lignum.schema"
local strict = require "lignum.strict"
local webhook = require "lignum.webhook"
local worker = require "lignum.worker"

local M = {}

local checking = false     -- this is `lignum check`
local lines                -- [path] = { [line] = true }: those with code, when tests ask for them; else nil
local texts = {}           ---@type string[]?   of the operator's files, while they are loaded
local complete = false     -- true once lignum.lua is loaded: nothing can be declared any more

local RESERVE <const> = 64 * 1024   -- bytes kept to find the place of an out-of-memory error
local WRITES <const> = { POST = true, PUT = true, PATCH = true, DELETE = true }
local INCLUDES_MAX <const> = 16     -- files within each other
local ROUTES = {
  "api", "message", "topic", "groups", "tokens", "cluster", "node", "health", "stats", "metrics", "openapi",
}

-- The globals of Lua that lignum.lua sees.
local LUA = {
  "assert", "error", "getmetatable", "ipairs", "load", "next", "pairs", "pcall", "rawequal", "rawget",
  "rawlen", "rawset", "require", "select", "setmetatable", "tonumber", "tostring", "type", "xpcall", "_VERSION",
  "coroutine", "io", "math", "os", "string", "table", "utf8",
}

local function print_to_log(...)
  local parts = table.pack(...)
  for i = 1, parts.n do parts[i] = tostring(parts[i]) end
  core.say.info(table.concat(parts, "\t"))
end

local function write_route(method, path, fn, use)
  if type(fn) ~= "function" then error("route.write(method, path, fn): fn must be a function", 2) end
  method = type(method) == "string" and method:upper() or ""
  if not WRITES[method] then error("route.write: method must be POST, PUT, PATCH or DELETE", 2) end
  route.declare(method, path, forward.write(fn), core.caller(2), use)
end

---The functions of api.lua without the verbs: lignum.lua and the console share them.
---@return table<string, any>
function M.api()
  local api = {
    topic = core.topic, topics = core.topics, sleep = core.sleep, now = core.now, fetch = fetch.fetch,
    time = modules.copy(core.time), json = modules.copy(core.json), node = modules.copy(core.node),
    say = modules.copy(core.say), crypto = modules.copy(core.crypto), shared = modules.copy(core.shared),
    metrics = modules.copy(core.metrics), tasks = modules.copy(core.tasks), spawn = core.spawn, after = schedule.later,
    lock = core.lock, signal = core.signal,
    jwt = modules.copy(jwt), webhook = modules.copy(webhook),
    cluster = { adopt = roster.adopt, claim_unclean = roster.claim_unclean, status = roster.status },
    tokens = { add = access.add, list = access.list, revoke = access.revoke },
    http = { fail = http.fail }, reject = publish.reject, print = print_to_log,
    route = {
      get = route.get, post = route.post, put = route.put, patch = route.patch, delete = route.delete,
      options = route.options, use = route.use, wrap = route.wrap, write = write_route,
    },
  }
  for name, factor in pairs(schema.units) do api[name] = factor end
  return api
end

-- A file's name as the places of errors have it (LUA_IDSIZE).
local function short(path)
  return #path < 60 and path or "..." .. path:sub(-56)
end

-- Loads one of the operator's files. `lignum check` also reports what is wrong with the globals that its functions use,
-- though nothing calls them.
local function load_operators(path, env, names)
  local chunk, problem = modules.load_file(path, env, texts)
  if chunk and lines then lines[path] = globals.uses(chunk).lines end
  for _, use in ipairs(chunk and checking and globals.uses(chunk) or {}) do
    local name, given = use.name, rawget(names, use.name) ~= nil
    local wrong
    if use.assigned then
      wrong = given and strict.refusal(name, true) or hooks.problem(name)
    elseif not given and not hooks.read(name) then
      wrong = strict.absence(name, names)
    end
    if wrong then config.report(("%s:%d"):format(short(path), use.line), wrong) end
  end
  return chunk, problem
end

-- include: runs another file as if it stood in lignum.lua.
local function includer(env, folder, names)
  local depth = 0
  return function(name)
    if complete then error("include can be used only while lignum.lua is loaded", 2) end
    if type(name) ~= "string" then error("include: needs the name of a file", 2) end
    if depth == INCLUDES_MAX then error(("include %s: more than %d files within each other"):format(name, depth), 2) end
    local chunk, problem = load_operators(name:find("^/") and name or folder .. "/" .. name, env, names)
    if not chunk then return config.report(core.caller(2), "include: " .. problem) end
    depth = depth + 1
    local results = table.pack(chunk(name))
    depth = depth - 1
    return table.unpack(results, 1, results.n)
  end
end

-- require: modules beside lignum.lua see its globals, and are as strict; Lignum's own and rocks see those of Lua.
local function requirer(env, folder, names)
  local loaded, loading = {}, {}
  return function(name)
    local path = type(name) == "string" and package.searchpath(name, package.path)
    if not path or path ~= folder .. "/" .. name:gsub("%.", "/") .. ".lua" then return require(name) end
    if loaded[name] == nil then
      if loading[name] then error(("module %s requires itself"):format(name), 2) end
      local chunk, problem = load_operators(path, env, names)
      if not chunk then error(problem, 0) end
      loading[name] = true
      local value = chunk(name, path)
      loading[name] = nil
      loaded[name] = value == nil and true or value
    end
    return loaded[name]
  end
end

-- The environment of these names. While lignum.lua is loaded, a wrong name is reported and loading goes on, to find all
-- errors.
local function guard(names)
  local sink = strict.sink()
  return strict.guard(names, {
    read = function(name, problem)
      local known, hook = hooks.read(name)
      if known then return hook end
      if complete then error(problem, 3) end
      config.report(core.caller(3), problem)
      return sink
    end,
    write = function(name, value, given)
      if complete then return false end
      local place = core.caller(3)
      local problem = given and strict.refusal(name, true) or hooks.define(name, value, place)
      if problem then config.report(place, problem) end
      return true
    end,
  })
end

-- The globals of lignum.lua.
local function environment(path)
  local names = {}
  local env, folder = guard(names), path and path:match("^(.*)/[^/]*$") or "."
  for _, name in ipairs(LUA) do
    names[name] = type(_G[name]) == "table" and modules.copy(_G[name]) or _G[name]    -- Lignum's scripts use their own
  end
  names.load = core.loader(env)
  for name, value in pairs(M.api()) do names[name] = value end
  for name, verb in pairs(config.verbs()) do
    if name == "node" or name == "cluster" then
      setmetatable(names[name], { __call = function(_, value) return verb(value) end })
    else
      names[name] = verb
    end
  end
  names.include, names.require = includer(env, folder, names), requirer(env, folder, names)
  names._G = env
  return env, names
end

-- The innermost line of Lua in a coroutine that has failed: "lignum.lua:12: ", or "" when none is known.
local function place_in(thread)
  for line in debug.traceback(thread):gmatch("[^\n]+") do
    local place = line:match("^%s*([^%[%s].-:%d+): in ")
    if place then return place .. ": " end
  end
  return ""
end

-- An out-of-memory error has no place in its text. lignum.lua runs in a coroutine so that the place can be found
-- afterwards; the memory that this takes is reserved before.
local function run_file(path, env, names)
  local chunk, problem = load_operators(path, env, names)
  if not chunk then return config.report(nil, problem) end
  local reserve = { ("x"):rep(RESERVE) }     -- luacheck: ignore 241
  local thread = coroutine.create(chunk)
  local ok, why = coroutine.resume(thread)
  if ok then return end
  reserve[1] = nil
  if why == "not enough memory" then
    why = place_in(thread) .. "over limits.script_memory"
  elseif type(why) ~= "string" then
    why = ("%san error that is not a text: %s"):format(place_in(thread), tostring(why))
  end
  coroutine.close(thread)
  config.report(nil, why)
end

-- Loads a file that sees what lignum.lua sees, and these names besides, and can declare nothing any more.
local function load_beside(path, names, more)
  local own = modules.copy(names)
  for name, value in pairs(more) do own[name] = value end
  local chunk, problem = load_operators(path, guard(own), own)
  if not chunk then error(problem, 0) end
  chunk()
end

-- What the nodes of a cluster compare; nil: it has none, or does not want that.
local function fingerprint_of(all)
  local cluster = config.values.cluster
  if #cluster.consul.address == 0 or not cluster.same_config then return nil end
  return require("lignum.fingerprint").of(all, config)
end

---@class lignum.World
---@field fingerprint? string   of what all nodes of the cluster should have loaded
---@field lines? table<string, table<integer, true>>   of tests: the lines of each file that have code
---@field load_file fun(path: string, names: table<string, any>)   loads a file beside lignum.lua, with these names too
---@field handle fun(req: lignum.Request): integer, any, table?
---@field serve fun()     makes its routes those that are served
---@field config table   module lignum.config of this draft; the fields below are its modules too
---@field http table
---@field policy table
---@field hooks table
---@field api fun(): table<string, any>
---@field help table
---@field pretty table
---@field publish table

---Builds a world, or raises one error that lists all problems.
---@param options { config?: string, set?: string[], apart?: boolean }   apart: it neither listens nor has a cluster
---@return lignum.World
function M.build(options)
  checking, lines = options.check, options.tests and {}
  local env, names = environment(options.config)
  for _, name in ipairs(ROUTES) do require("routes." .. name) end
  route.operators = true
  if options.config then run_file(options.config, env, names) end
  if options.apart then              -- there may be no such addresses and certificates here
    config.forget("listen")
    config.forget("cluster")
  end
  config.set(options.set)
  local errors = config.finish(options.check)
  if #errors > 0 then error(table.concat(errors, "\n"), 0) end
  route.operators = false
  if config.has("durable_streams") then
    require("routes.durable_streams").declare(config.values.durable_streams)
  end
  require("routes.index").declare(require("routes.console").declare(config.values.console))
  config.values.authorize = hooks.get("authorize")      -- C warns when it is missing beyond loopback
  complete = true
  local fingerprint = fingerprint_of(texts)
  texts = nil
  route.seal(config.values.access, config.values.log.requests)
  publish.seal()
  return {
    handle = route.handle, serve = route.serve, config = config, http = http, policy = policy, hooks = hooks,
    api = M.api, help = help, pretty = pretty, publish = publish, worker = worker,
    load_file = function(path, more) load_beside(path, names, more) end, lines = lines,
    fingerprint = fingerprint,
    inspect = function() return require "lignum.inspect" end, env = env,     -- loaded when it is first used
  }
end

return M
