--- Consumer groups as Lua objects: `topic(t):group(name)`. The core has settings as pairs of text and answers claims in
--- JSON (core.group); here they become tables.
local core = require "lignum.core"
local filter = require "lignum.filter"
local leader = require "lignum.leader"
local modules = require "lignum.modules"
local near = require "lignum.near"

local raw, json = core.group, core.json

local M = {}

-- core.group.reserved: why clients cannot write to the topic of a name, in this world; nil in the core's world.

-- Numbers of settings: what one of them is in the core.
local MS <const> = 1000
local FIELDS = {
  lease_time = MS, deliveries = 1, lease_max = 1, ["retry.min"] = MS, ["retry.max"] = MS, ["retry.factor"] = 1000,
  expire = MS,
}
local SETTINGS = {
  lease_time = true, deliveries = true, lease_max = true, order = true, retry = true, dead_letter = true,
  expire = true, expired = true, filter = true,
}
local RETRY = { min = true, max = true, factor = true }

local function number_text(path, value)
  local unit = FIELDS[path]
  local scaled = math.type(value) and value * unit
  if not scaled or scaled ~= scaled or math.abs(scaled) > core.limits.json_integer_max then
    return nil, path .. " must be a number"
  end
  local whole = math.floor(scaled + 0.5)
  if math.abs(scaled - whole) > 1e-6 then
    return nil, path .. (unit == 1 and " must be a whole number" or " must be a whole number of thousandths")
  end
  return ("%d"):format(whole)
end

-- Adds the pairs of one table of settings to `pairs_`; returns a problem, if there is one.
local function flatten(settings, known, prefix, all)
  for name, value in pairs(settings) do
    if not known[name] then
      return ("there is no setting %s%s of a group%s"):format(prefix, tostring(name),
        near.hint(tostring(name), near.names(known)))
    end
    local problem
    if name == "retry" and prefix == "" then
      if type(value) ~= "table" or json.is_array(value) then return "retry must be an object" end
      problem = flatten(value, RETRY, "retry.", all)
    elseif name == "order" then
      if type(value) ~= "string" then return 'order must be "none" or "key"' end
      all.order = value
    elseif name == "expired" then
      if type(value) ~= "string" then return 'expired must be "drop" or "dead"' end
      all.expired = value
    elseif name == "filter" then
      all.filter, problem = filter.pack(value)
    elseif name == "dead_letter" then
      if value == json.null then value = "" end
      if type(value) ~= "string" then return "dead_letter must be the name of a topic, or null" end
      problem = raw.reserved and raw.reserved(value)
      if problem then return "dead_letter must be a topic that takes letters: " .. problem end
      all.dead_letter = value
    else
      all[prefix .. name], problem = number_text(prefix .. name, value)
    end
    if problem then return problem end
  end
end

---Settings as the core takes them.
---@param settings lignum.GroupSettings
---@return table<string, string>? pairs
---@return string? problem
function M.flatten(settings)
  local all = {}
  local problem = flatten(settings, SETTINGS, "", all)
  if problem then return nil, problem end
  return all
end

---Settings as users see them.
---@param all table<string, string>
---@return lignum.GroupSettings
function M.unflatten(all)
  local dead_letter = all.dead_letter ~= "" and all.dead_letter or json.null
  local settings = { order = all.order, expired = all.expired, retry = {}, dead_letter = dead_letter,
    filter = filter.unpack(all.filter) }
  for path, unit in pairs(FIELDS) do
    local value = tonumber(all[path]) / unit
    local name = path:match("^retry%.(.*)$")
    value = math.tointeger(value) or value
    if name then settings.retry[name] = value else settings[path] = value end
  end
  return settings
end

-- What a follower has its leader do. An answer has to fit into one frame.
local CLAIM_BYTES <const> = 1024 * 1024
local SHOWN <const>, PLAIN <const> = { seconds = 30, shows = "_groups" }, { seconds = 30 }

for _, verb in ipairs { "create", "set", "delete", "seek", "info", "settle" } do
  leader.serve("group_" .. verb, raw[verb])
end
leader.serve("group_claim", filter.claim)

local Group = {}
local OF_GROUP = { __index = Group }
core.Group, raw.claim_filtered = Group, filter.claim

function core.Topic.group(topic, name)
  if type(name) ~= "string" then error("topic:group(name): name must be a string", 2) end
  return setmetatable({ topic = topic.name, name = name }, OF_GROUP)
end

function core.Topic.groups(topic)
  local list, why, code = raw.list(topic.name)
  if not list then return nil, why, code end
  local groups = {}
  for i, each in ipairs(list) do groups[i] = topic:group(each.group) end
  table.sort(groups, function(a, b) return a.name < b.name end)
  return groups
end

-- The line that called the method is to blame, whatever lies between.
local function check_table(value, usage)
  if type(value) ~= "table" then error(("%s: settings must be a table, not %s"):format(usage, type(value)), 3) end
end

function Group:create(settings, from)
  settings = settings or {}
  check_table(settings, "group:create([settings [, from]])")
  local all, problem = M.flatten(settings)
  if not all then return nil, problem, "bad_value" end
  if from == nil then
    local info, why, code = core.topic(self.topic):info()
    if not info then return nil, why, code end
    from = info.next
  end
  return leader.call("group_create", SHOWN, self.topic, self.name, all, from)
end

function Group:set(settings)
  check_table(settings, "group:set(settings)")
  local all, problem = M.flatten(settings)
  if not all then return nil, problem, "bad_value" end
  return leader.call("group_set", SHOWN, self.topic, self.name, all)
end

function Group:delete()
  return leader.call("group_delete", SHOWN, self.topic, self.name)
end

function Group:seek(offset, generation)
  return leader.call("group_seek", SHOWN, self.topic, self.name, offset, generation)
end

function Group:info()
  local info, why, code = leader.call("group_info", PLAIN, self.topic, self.name)
  if not info then return nil, why, code end
  info.settings = M.unflatten(info.settings)
  return info
end

-- A claim that a follower may send.
local function claim_of(options)
  if not core.cluster.follows() or type(options) ~= "table" then return options, PLAIN end
  local own = modules.copy(options)
  own.bytes = math.min(math.tointeger(own.bytes) or CLAIM_BYTES, CLAIM_BYTES)
  return own, { seconds = leader.ANSWER + (tonumber(own.wait) or 0) }
end

function Group:claim(options)
  local how
  options, how = claim_of(options or {})
  local text, why, code = leader.call("group_claim", how, self.topic, self.name, options)
  if not text then return nil, why, code end
  local answer = json.decode(text)
  for i, m in ipairs(answer.messages) do answer.messages[i] = filter.message(m) end
  return answer.messages, answer.settled
end

function Group:settle(what)
  local text, why, code = leader.call("group_settle", PLAIN, self.topic, self.name, what)
  if not text then return nil, why, code end
  return json.decode(text)
end

return M
