--- A draft: everything that lignum.lua and the routes say, before it is live.
---
--- build() runs in modules of its own (modules.lua). It either returns a world, which init.lua
--- makes live by one assignment, or raises one string with an error on each line and has changed
--- nothing.
local config = require "lignum.config"
local core = require "lignum.core"
local election = require "lignum.election"
local help = require "lignum.help"
local hooks = require "lignum.hooks"
local http = require "lignum.http"
local modules = require "lignum.modules"
local policy = require "lignum.policy"
local pretty = require "lignum.pretty"
local publish = require "lignum.publish"
local roster = require "lignum.roster"
local route = require "lignum.route"
local schema = require "lignum.schema"
local strict = require "lignum.strict"

local M = {}

local complete = false     -- from then on nothing can be declared

local RESERVE <const> = 64 * 1024
local ROUTES = { "api", "message", "topic", "cluster", "metrics", "openapi" }

-- What of Lua itself lignum.lua sees.
local LUA = {
  "assert", "error", "getmetatable", "ipairs", "load", "next", "pairs", "pcall", "rawequal", "rawget",
  "rawlen", "rawset", "require", "select", "setmetatable", "tonumber", "tostring", "type", "xpcall", "_VERSION",
  "coroutine", "io", "math", "os", "string", "table", "utf8",
}

local function copy(t)
  local c = {}
  for k, v in pairs(t) do c[k] = v end
  return c
end

local function print_to_log(...)
  local parts = table.pack(...)
  for i = 1, parts.n do parts[i] = tostring(parts[i]) end
  core.say.info(table.concat(parts, "\t"))
end

---The functions of api.lua, without the verbs: what lignum.lua and the console share.
---@return table<string, any>
function M.api()
  local api = {
    topic = core.topic, topics = core.topics, sleep = core.sleep, now = core.now, fetch = core.fetch,
    time = copy(core.time), json = copy(core.json), node = copy(core.node), say = copy(core.say),
    cluster = { adopt = election.adopt, claim_unclean = election.claim_unclean, status = roster.status },
    http = { fail = http.fail }, reject = publish.reject, print = print_to_log,
    route = { get = route.get, post = route.post, put = route.put, patch = route.patch, delete = route.delete },
  }
  for name, factor in pairs(schema.units) do api[name] = factor end
  return api
end

-- The globals of lignum.lua.
local function environment()
  local env = {}
  for _, name in ipairs(LUA) do env[name] = _G[name] end
  for name, value in pairs(M.api()) do env[name] = value end
  for name, verb in pairs(config.verbs()) do
    if name == "node" or name == "cluster" then
      setmetatable(env[name], { __call = function(_, value) return verb(value) end })
    else
      env[name] = verb
    end
  end
  env._G = env
  return env
end

-- Guards the environment. While lignum.lua is read an unknown name is noted and reading goes on, to
-- find all errors.
local function guard(env)
  local sink = strict.sink()
  return strict.guard(env, {
    read = function(name, problem)
      local known, hook = hooks.read(name)
      if known then return hook end
      if complete then error(problem, 3) end
      config.report(core.caller(3), problem)
      return sink
    end,
    write = function(name, value)
      if complete then return false end
      local place = core.caller(3)
      local problem = hooks.define(name, value, place)
      if problem then config.report(place, problem) end
      return true
    end,
  })
end

-- Where a coroutine has stopped: "lignum.lua:12: ", or nothing when no line of Lua is known.
local function place_in(thread)
  for line in debug.traceback(thread):gmatch("[^\n]+") do
    local place = line:match("^%s*([^%[%s].-:%d+): in ")
    if place then return place .. ": " end
  end
  return ""
end

-- In a coroutine, because an error for want of memory does not say where it was; asking that takes a little memory too,
-- which is kept for it.
local function run_file(path, env)
  local chunk, problem = modules.load_file(path, env)
  if not chunk then return config.report(nil, problem) end
  local kept = { ("x"):rep(RESERVE) }     -- luacheck: ignore 241
  local thread = coroutine.create(chunk)
  local ok, why = coroutine.resume(thread)
  if ok then return end
  kept[1] = nil
  local place = why == "not enough memory" and place_in(thread)
  coroutine.close(thread)
  config.report(nil, place and place .. "over limits.script_memory" or tostring(why))
end

---@class lignum.World
---@field handle fun(req: lignum.Request): integer, any, table?
---@field config table   the module lignum.config of this draft
---@field http table     the module lignum.http of this draft, as are the next ones
---@field policy table
---@field hooks table
---@field api fun(): table<string, any>
---@field help table
---@field pretty table

---Builds a world, or raises all errors.
---@param options { config?: string, set?: string[] }
---@return lignum.World
function M.build(options)
  local env = guard(environment())
  for _, name in ipairs(ROUTES) do require("routes." .. name) end
  if options.config then run_file(options.config, env) end
  config.set(options.set)
  local errors = config.finish()
  if #errors > 0 then error(table.concat(errors, "\n"), 0) end
  config.values.authorize = hooks.get("authorize")      -- C warns where it should be there and is not
  complete = true
  route.seal()
  publish.seal()
  return {
    handle = route.handle, config = config, http = http, policy = policy, hooks = hooks, api = M.api, help = help,
    pretty = pretty,
  }
end

return M
