--- Access tokens (core/broker/access/access.h): `tokens` of api.lua, what /v1/tokens shows, and the tokens that
--- lignum.lua declares.
local core = require "lignum.core"
local leader = require "lignum.leader"
local near = require "lignum.near"

local json, raw = core.json, core.access

local M = {}

local SPANS <const> = { s = 1, m = 60, h = 3600, d = 86400 }
local FIELDS <const> = { topics = true, may = true, expires = true }
local CHANGE <const> = { seconds = 30, shows = "_tokens" }

leader.serve("token_add", raw.add)
leader.serve("token_revoke", raw.revoke)

-- A list of words, or a text with a comma or blanks between them, as one text.
local function joined(value, separator)
  if type(value) == "string" then
    local list = {}
    for word in value:gmatch("[^%s,]+") do list[#list + 1] = word end
    value = list
  end
  if type(value) ~= "table" or #value == 0 then return nil end
  for i = 1, #value do
    if type(value[i]) ~= "string" or value[i]:find("[%s,]") then return nil end
  end
  return table.concat(value, separator)
end

local ACTIONS <const> = { read = true, publish = true, consume = true, admin = true, observe = true, own = true }

local function unknown_action(may)
  for word in may:gmatch("%S+") do
    if not ACTIONS[word] then
      return ("may: there is no action %s%s"):format(word, near.hint(word, near.names(ACTIONS)))
    end
  end
end

-- When a token expires, in milliseconds since 1970; 0: never.
local function expiry(value)
  if value == nil or value == json.null then return 0 end
  local number, unit = tostring(value):match("^(%d+)(%a?)$")
  local span = number and #number <= 9 and tonumber(number) * (SPANS[unit == "" and "s" or unit] or 0)
  if span and span > 0 then return math.tointeger((core.now() + span) * 1000 // 1) end
  local at = type(value) == "string" and core.time.parse(value)
  if at then return math.max(math.tointeger(at * 1000 // 1), 1) end
  return nil, 'expires must be seconds from now, a span such as "30d", or a time such as 2026-11-30T10:00:00Z'
end

---The arguments of core.access.add.
---@param options { topics: string|string[], may: string|string[], expires?: string|number }
---@return string? topics
---@return string may        or the problem
---@return integer|string expires_ms
local function arguments_of(options)
  for name in pairs(options) do
    if not FIELDS[name] then return nil, ("there is no field %s of a token"):format(tostring(name)), "bad_value" end
  end
  local topics, may = joined(options.topics, ","), joined(options.may, " ")
  if not topics then return nil, 'topics must be a list of patterns, such as "orders.*"', "bad_value" end
  if not may then
    return nil, "may must be a list of actions: read, publish, consume, admin, observe, own", "bad_value"
  end
  local unknown = unknown_action(may)
  if unknown then return nil, unknown, "bad_value" end
  local expires, problem = expiry(options.expires)
  if not expires then return nil, problem, "bad_value" end
  return topics, may, expires
end

---Makes a token, and returns its secret, which is shown only here.
---@param name string
---@param options { topics: string|string[], may: string|string[], expires?: string|number }
---@return string? secret
---@return string? message
---@return string? code
function M.add(name, options)
  if type(name) ~= "string" then error("tokens.add(name, options): name must be a string", 2) end
  if type(options) ~= "table" then error("tokens.add(name, options): options must be a table", 2) end
  local topics, may, expires = arguments_of(options)
  if not topics then return nil, may, expires end
  return leader.call("token_add", CHANGE, name, topics, may, expires)
end

---@param name string
---@return true? revoked
---@return string? message
---@return string? code
function M.revoke(name)
  if type(name) ~= "string" then error("tokens.revoke(name): name must be a string", 2) end
  return leader.call("token_revoke", CHANGE, name)
end

local function words(text, separator)
  local list = json.array {}
  for word in text:gmatch("[^" .. separator .. "]+") do list[#list + 1] = word end
  return list
end

---All tokens by name, without secrets.
---@return lignum.Token[]
function M.list()
  local list = json.array {}
  for i, t in ipairs(raw.list()) do
    list[i] = {
      name = t.name, topics = words(t.topics, ","), may = words(t.may, " "), declared = t.declared or nil,
      made = t.made_ms > 0 and core.time.format(t.made_ms / 1000) or nil,
      expires = t.expires_ms > 0 and core.time.format(t.expires_ms / 1000) or nil,
    }
  end
  table.sort(list, function(a, b) return a.name < b.name end)
  return list
end

---Whether a list that a request asks for shows a topic: without a token it shows all.
---@param req lignum.Request
---@param topic string
---@return boolean
function M.shows(req, topic)
  local token = req.token
  return not token or raw.sees(token, topic)
end

-- lignum.lua -------------------------------------------------------------------------------------

local DECLARED <const> = { hash = true, topics = true, may = true }

---What `token "NAME" {...}` declares, as C reads it, or nil and the problem.
---@param name string
---@param value any
---@return { name: string, hash: string, topics: string, may: string }?
---@return string? problem
function M.declared(name, value)
  if type(value) ~= "table" then return nil, "needs a table: { hash =, topics =, may = }" end
  for field in pairs(value) do
    if not DECLARED[field] then return nil, ("there is no key %s: hash, topics, may"):format(tostring(field)) end
  end
  local hash = type(value.hash) == "string" and value.hash:match("^sha256:(%x+)$")
  if not hash or #hash ~= 64 then
    return nil, 'hash must be "sha256:" and 64 hexadecimal digits: `lignum token new` prints the line'
  end
  local topics, may, problem = arguments_of { topics = value.topics, may = value.may }
  if not topics then return nil, may or problem end
  return { name = name, hash = hash:lower(), topics = topics, may = may }
end

return M
