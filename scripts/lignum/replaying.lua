--- A world that judges messages of a log by the on_publish of a lignum.lua, and does nothing else
--- (core/script/client/l_judge.c). What the hook would do is counted: appends, fetches, spawned tasks, signals.
---
--- It has no node: whatever needs one raises the error that it may be called in a task only. What hooks use most is
--- replaced before the modules of lignum.lua take it from the core.
local core = require "lignum.core"
local diff = require "lignum.diff"

local M = {}

local KINDS_MAX <const> = 100         -- of effects that are counted by name

local effects, kinds = {}, 0          -- [what] = how often

local function record(what)
  if not effects[what] then
    if kinds == KINDS_MAX then what = "others" end
    kinds = kinds + (effects[what] and 0 or 1)
  end
  effects[what] = (effects[what] or 0) + 1
end

local function undone(what)
  record(what)
  return nil, what .. " is not done in a replay", "unavailable"
end

-- An object whose methods count their calls.
local function recorder(what, methods)
  return setmetatable(methods or {}, { __index = function(_, name)
    return function() return undone(("%s:%s"):format(what, tostring(name))) end
  end })
end

-- Topics: an append has an outcome, of which the place is not known.
function core.topic(name)
  local shown = ('topic "%s"'):format(tostring(name))
  return recorder(shown, {
    name = name,
    append = function(_, what)
      record(shown .. ":append")
      return true, type(what) == "table" and what.payload == nil and #what or 1, 0
    end,
  })
end
core.topics = function() return undone("topics") or {} end

function core.fetch(asked)
  local url = type(asked) == "table" and tostring(asked.url):gsub("[?#].*", "") or "?"
  local _, why = undone("fetch " .. url)
  return nil, why, "fetch_failed"
end

function core.spawn() record("spawn") return 1 end
function core.sleep() record("sleep") end
core.lock = function() return setmetatable({ release = function() end }, { __close = function() end }) end
core.signal = function(name) return recorder("signal " .. tostring(name)) end
core.tasks = { list = function() return {} end, cancel = function() return false end }

local function meter() return { add = function() end, set = function() end, observe = function() end } end
core.metrics = { counter = meter, gauge = meter, histogram = meter }

-- Shared dictionaries: each world has its own, which begin empty. A key lives by the times of the messages. As in a
-- node, a table that is put in or got is a copy.
local Dict = {}
Dict.__index = Dict

local function live(dict, key)
  local entry = dict.entries[key]
  if entry and entry.until_time and core.now() >= entry.until_time then
    dict.entries[key] = nil
    return nil
  end
  return entry
end

local function copied(value)
  if type(value) ~= "table" then return value end
  local copy = {}
  for k, v in pairs(value) do copy[k] = copied(v) end
  return copy
end

local function put(dict, key, value, ttl)
  dict.entries[key] = value ~= nil and { value = copied(value), until_time = ttl and core.now() + ttl } or nil
  record(("shared %s"):format(dict.name))
  return true
end

function Dict:get(key)
  local entry = live(self, key)
  return entry and copied(entry.value)
end

function Dict:set(key, value, ttl)
  if value == nil then return self:delete(key) end
  return put(self, key, value, ttl)
end

function Dict:add(key, value, ttl)
  return not live(self, key) and put(self, key, value, ttl)
end

function Dict:cas(key, old, new, ttl)
  return self:get(key) == old and put(self, key, new, ttl)
end

function Dict:incr(key, by, ttl)
  local entry = live(self, key)
  local value = (entry and entry.value or 0) + (by or 1)
  if entry then entry.value = value else put(self, key, value, ttl) end
  return value
end

function Dict:delete(key)
  local there = live(self, key) ~= nil
  self.entries[key] = nil
  return there
end

function Dict:keys(prefix, limit)
  local keys = {}
  for key in pairs(self.entries) do
    local wanted = key:find(prefix or "", 1, true) == 1 and live(self, key)
    if wanted and #keys < (limit or 1000) then keys[#keys + 1] = key end
  end
  table.sort(keys)
  return keys
end

function Dict:info() return { keys = #self:keys() } end

local dicts = {}
core.shared = { dict = function(name)
  dicts[name] = dicts[name] or setmetatable({ name = name, entries = {} }, Dict)
  return dicts[name]
end }

-- A replay calls its hook outside of any task, one message after another. A canary has tasks.
local where <const>, refused = core.where, nil
if core.world == "replay" then
  function core.where() refused = nil end
  function core.refuse(refusal) refused = refusal end
  function core.refusal()
    local refusal = refused
    refused = nil
    return refusal
  end
end
function core.hook() return "on_publish" end

for name in pairs(core.unsafe) do
  core.unsafe[name] = function() return undone("unsafe." .. name) end
end

local init = require "lignum.init"

local world   ---@type lignum.World

M.config = init.config

-- What a hook may ask of the client.
local CTX <const> = { peer = "replay", headers = {}, header = function() end, param = function() end }

---@param options { config?: string, set?: string[] }
function M.load(options)
  options.apart = true
  world = init.load(options)
end

---Where the hook is defined; nil: it is not.
---@return string?
function M.place()
  local fn, place = world.hooks.get("on_publish")
  return fn and place
end

---@param message lignum.Message
---@param name string      the topic
---@return string? topic   where it goes
---@return string? why     that it is rejected
---@return string? code
function M.judge(message, name)
  return world.publish.judge(message, name, CTX)
end

local condition

---Compiles a condition on messages.
---@param text string
---@return boolean ok
---@return string? problem
function M.where(text)
  local env = {
    json = core.json, time = core.time, string = string, math = math, pcall = pcall, tonumber = tonumber,
    tostring = tostring, type = type,
  }
  local chunk, problem = load("local msg, offset = ... return " .. text, "=--where", "t", env)
  condition = chunk
  return chunk ~= nil, problem
end

---@return boolean
function M.wanted(message, offset)
  return condition(message, offset) and true or false
end

-- The canary ---------------------------------------------------------------------------------------------

local EXAMPLES <const> = 10            -- the last ones of each kind
local compared = { same = 0, accepted = 0, rejected = 0, changed = 0, rerouted = 0, failed = 0 }
local examples = {}

local function keep(kind, what)
  compared[kind] = compared[kind] + 1
  if kind == "same" then return end
  examples[kind] = examples[kind] or {}
  table.insert(examples[kind], { time = core.now(), what = what })
  if #examples[kind] > EXAMPLES then table.remove(examples[kind], 1) end
end

-- What is different, and how.
local function difference(decided, message, to, why, code)
  if not to and decided.why then return "same" end
  if not to then return "rejected", ("%s (%s)"):format(why, code) end
  if decided.why then return "accepted", decided.why end
  if to ~= decided.topic then return "rerouted", ("to %s, not %s"):format(to, decided.topic) end
  local headers, was = message.headers or {}, decided.headers or {}
  local found = diff.values({ key = decided.key, headers = was }, { key = message.key, headers = headers }, 1)[1]
  if not found and message.payload == decided.payload then return "same" end
  if not found then
    local a, b = core.json.decode(decided.payload), core.json.decode(message.payload)
    found = type(a) == "table" and type(b) == "table" and diff.values(a, b, 1)[1] or { path = "payload" }
  end
  return "changed", found.path
end

---Judges a message that the live world has judged.
---@param name string      the topic
---@param message lignum.Message
---@param decided table    what it has decided
---@return string? failure
function M.compare(name, message, decided)
  where("on_publish")
  local ok, to, why, code = pcall(M.judge, message, name)
  where(nil)
  if not ok then
    keep("failed", tostring(to))
    return tostring(to)
  end
  keep(difference(decided, message, to, why, code))
end

---@return table
function M.compared()
  return { kinds = compared, examples = examples, undone = effects }
end

---What would have been done.
---@return table<string, integer>
function M.recorded()
  return effects
end

return M
