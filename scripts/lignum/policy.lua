--- The settings of new topics: the first rule `topic "pattern" {...}` that matches the name decides.
local config = require "lignum.config"
local core = require "lignum.core"
local hooks = require "lignum.hooks"
local modules = require "lignum.modules"
local reserved = require "lignum.reserved"
local roster = require "lignum.roster"
local schema = require "lignum.schema"

local M = {}

-- [pattern] = the equivalent Lua pattern
local compiled = setmetatable({}, {
  __index = function(all, pattern)
    local lua = pattern:gsub("[^%w*?]", "%%%0"):gsub("%*", ".*"):gsub("%?", ".")
    all[pattern] = "^" .. lua .. "$"
    return all[pattern]
  end,
})

local function rule_of(name)
  for _, rule in ipairs(config.rules) do
    if name:find(compiled[rule.pattern]) then return rule end
  end
end

---The replication mode that a rule chooses for a topic, either fixed or by its function.
---@param rule lignum.Rule
---@param name string
---@return "wal"|"live"|nil mode
---@return string? problem   its function has not chosen one
---@return boolean? late     and did not answer in time
local function replication_of(rule, name)
  local mode = rule.settings.replication
  if type(mode) ~= "function" then return mode end
  local ok, chosen, late = hooks.ask("replication", rule.place, mode, core.topic(name), roster.state())
  if not ok then return nil, chosen, late end
  if chosen == "wal" or chosen == "live" then return chosen end
  return nil, ('%s: replication of topic %q must return "wal" or "live", not %s'):format(rule.place, rule.pattern,
    type(chosen) == "string" and '"' .. chosen .. '"' or tostring(chosen))
end

---Whether any rule chooses replication by a function.
---@return boolean
function M.has_functions()
  for _, rule in ipairs(config.rules) do
    if type(rule.settings.replication) == "function" then return true end
  end
  return false
end

---The mode that a rule's function chooses for an existing topic, with the copies that the rule asks for in that mode;
---nil when no function decides.
---@param name string
---@return { replication: "wal"|"live", copies: integer }? settings
---@return string? problem   the function has not chosen one
---@return boolean? late     and did not answer in time
function M.chosen(name)
  local rule = rule_of(name)
  if not rule or type(rule.settings.replication) ~= "function" then return nil end
  local mode, problem, late = replication_of(rule, name)
  if problem then return nil, problem, late end
  return { replication = mode, copies = mode == "live" and rule.settings.copies or 1 }
end

---The settings of a new topic: `given` takes precedence over the topic's rule, and the rule over the store's defaults.
---@param name string
---@param given? lignum.Settings
---@return lignum.Settings settings
---@return boolean auto_create
---@return string? pattern  of the rule
function M.settings(name, given)
  local rule = rule_of(name)
  local own = {}
  if rule then
    own = modules.copy(rule.settings)
    local problem
    own.replication = given and given.replication              -- no call when it is given
    if not own.replication then own.replication, problem = replication_of(rule, name) end
    if problem then error(problem, 0) end
    if own.replication ~= "live" then own.copies = nil end                        -- a rule's copies are for live
  end
  local defaults = schema.fill(schema.settings)
  defaults.durability = config.values.store.durability
  defaults.segment = config.values.store.segment
  local settings = schema.merge(schema.settings, own, defaults)
  if given then settings = schema.merge(schema.settings, given, settings) end
  return settings, own.auto_create ~= false, rule and rule.pattern
end

---Whether a client that may consume from a topic may create groups of it.
---@param name string
---@return boolean
function M.auto_group(name)
  local rule = rule_of(name)
  return rule ~= nil and rule.settings.auto_group == true
end

M.reserved = reserved.problem

---Creates a topic for its first publish, if its rule allows that. It is no error when the topic already exists.
---@param name string
---@return boolean? ok
---@return string? message
---@return string? code
function M.create(name)
  local problem = reserved.problem(name)
  if problem then return nil, problem, "forbidden" end
  local settings, auto_create, pattern = M.settings(name)
  if not auto_create then
    local why = ("there is no topic %s, and its rule %q has auto_create = false"):format(name, pattern)
    return nil, why, "unknown_topic"
  end
  local created, why, code = core.topic(name):create(settings)
  if created == nil and code ~= "topic_exists" then return nil, why, code end
  return true
end

return M
