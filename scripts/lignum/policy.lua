--- What becomes of topics that are not there yet: the first `topic "pattern" {...}` that matches
--- decides.
local config = require "lignum.config"
local core = require "lignum.core"
local schema = require "lignum.schema"

local topic = core.topic
local byte = string.byte

local M = {}

local UNDERSCORE <const> = byte("_")

-- [pattern] = the same as a Lua pattern
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

---Settings of a new topic of that name: its rule over the store's defaults, and what is given over
---both.
---@param name string
---@param given? lignum.Settings
---@return lignum.Settings settings
---@return boolean auto_create
---@return string? place  of the rule
function M.settings(name, given)
  local rule = rule_of(name)
  local own = rule and rule.settings or {}
  local defaults = schema.fill(schema.settings)
  defaults.durability = config.values.store.durability
  defaults.segment = config.values.store.segment
  local settings = schema.merge(schema.settings, own, defaults)
  if given then settings = schema.merge(schema.settings, given, settings) end
  return settings, own.auto_create ~= false, rule and rule.place
end

---Is it a name that only the broker itself may write to?
---@param name string
---@return boolean
function M.internal(name)
  return byte(name) == UNDERSCORE
end

local function create(name)
  local settings, auto_create, place = M.settings(name)
  if not auto_create then
    return nil, ("there is no such topic, and %s says auto_create = false"):format(place), "unknown_topic"
  end
  local created, why, code = topic(name):create(settings)
  if created == nil and code ~= "topic_exists" then return nil, why, code end
  return true
end

---topic(name):append(what, options), which creates the topic when it is not there and the policy
---allows it.
---@param name string
---@param what string|lignum.Message|table|lignum.Request
---@param options? table
---@return integer? first
---@return integer|string count
---@return integer|string epoch
function M.append(name, what, options)
  if byte(name) == UNDERSCORE then return nil, "topics that begin with _ are the broker's own", "forbidden" end
  local first, count, epoch = topic(name):append(what, options)
  if first or epoch ~= "unknown_topic" then return first, count, epoch end

  local ok, why, code = create(name)
  if not ok then return nil, why, code end
  return topic(name):append(what, options)
end

return M
