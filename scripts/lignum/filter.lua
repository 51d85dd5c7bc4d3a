--- The filter of a group: `{ key = "x", headers = { colour = "red" } }`, or `{ name = "urgent" }` for a function of
--- lignum.lua, `filter.urgent = function(msg) ... end`. C judges keys and headers; a function is called here.
local core = require "lignum.core"
local near = require "lignum.near"

local raw, json, base64 = core.group, core.json, core.base64
local M = {}

local KNOWN <const> = { key = true, headers = true, name = true }
local SIZE_MAX <const> = core.limits.group_filter_max

-- core.group.filters: the functions of this world by their names; nil in the core's world, which has none.

-- A condition as a pair of core/broker/group/filter.h.
local function pair(name, value)
  return string.pack("<I2I2", #name, #value) .. name .. value
end

local function conditions(filter)
  local all = {}
  if filter.key ~= nil then all.k = filter.key end
  if filter.name ~= nil then all.f = filter.name end
  local headers = filter.headers
  if headers ~= nil and type(headers) ~= "table" then return nil, "filter.headers must be an object of strings" end
  for name, value in pairs(headers or {}) do
    if type(name) ~= "string" or name == "" then return nil, "filter.headers must have names" end
    all["h" .. name] = value
  end
  for name, value in pairs(all) do
    if type(value) ~= "string" then return nil, "filter must have texts as values" end
    if #name + #value > SIZE_MAX then return nil, ("filter must have at most %d bytes"):format(SIZE_MAX) end
  end
  if next(all) == nil then return nil, "filter must have key, headers or name" end
  if all.f and (filter.key or headers) then return nil, "filter must have either name, or key and headers" end
  if all.f and raw.filters and not raw.filters[all.f] then
    return nil, ("filter.name: lignum.lua has no filter.%s%s"):format(all.f, near.hint(all.f, near.names(raw.filters)))
  end
  return all
end

---The form that the core has.
---@param filter any
---@return string? packed
---@return string? problem
function M.pack(filter)
  if filter == json.null then return "" end
  if type(filter) ~= "table" or json.is_array(filter) then return nil, "filter must be an object, or null" end
  for name in pairs(filter) do
    if not KNOWN[name] then
      return nil, ("there is no filter.%s%s"):format(tostring(name), near.hint(tostring(name), near.names(KNOWN)))
    end
  end
  local all, problem = conditions(filter)
  if not all then return nil, problem end
  local names, parts = near.names(all), {}
  table.sort(names)
  for i, name in ipairs(names) do parts[i] = pair(name, all[name]) end
  local packed = table.concat(parts)
  if #packed > SIZE_MAX then return nil, ("filter must have at most %d bytes"):format(SIZE_MAX) end
  return packed
end

---@param packed string
---@return table filter   json.null where there is none
function M.unpack(packed)
  local at, filter = 1, {}
  while at <= #packed do
    local name_size, value_size, from = string.unpack("<I2I2", packed, at)
    local name = packed:sub(from, from + name_size - 1)
    at = from + name_size + value_size
    local value = packed:sub(from + name_size, at - 1)
    local kind = name:sub(1, 1)
    if kind == "k" then filter.key = value
    elseif kind == "f" then filter.name = value
    else
      filter.headers = filter.headers or {}
      filter.headers[name:sub(2)] = value
    end
  end
  return next(filter) and filter or json.null
end

---A message of an answer in JSON, as topic:read gives messages.
---@param m table
---@return lignum.Message
function M.message(m)
  return {
    payload = m.data or base64.decode(m.base64), key = m.key or m.key_base64 and base64.decode(m.key_base64) or nil,
    headers = m.headers, offset = m.offset, epoch = m.epoch, time = core.time.parse(m.time), lease = m.lease,
    delivery = m.delivery,
  }
end

-- Leaves the messages of a claim that the function takes; the others are left out for the group. Where it fails, all go
-- back.
local function sift(topic, group, name, messages)
  local kept, left, leases = json.array {}, {}, {}
  for i, m in ipairs(messages) do leases[i] = m.lease end
  local done = false
  local _ <close> = setmetatable({}, { __close = function()
    if not done then raw.give_back(topic, group, leases) end
  end })
  core.where("filter")
  for _, m in ipairs(messages) do
    local takes = raw.filters[name](M.message(m))
    table.insert(takes and kept or left, takes and m or m.lease)
  end
  core.where(nil)
  if #left > 0 then
    local ok, why, code = raw.settle(topic, group, { leave_out = left })
    if not ok then return nil, why, code end
  end
  done = true
  return kept
end

-- Claims, and leaves out what the function of this name does not take.
local function claim_sifted(topic, group, options, name)
  if not (raw.filters and raw.filters[name]) then
    return nil, ("there is no filter.%s in lignum.lua, which the group has"):format(name), "unavailable"
  end
  local o = { consumer = options.consumer, limit = options.limit, bytes = options.bytes, sifts = true }
  local settled
  local over = core.time.clock() + (options.wait or 0)
  o.settle, o.wait = options.settle, options.wait
  while true do
    local text, why, code = raw.claim(topic, group, o)
    if not text then return nil, why, code end
    local answer = json.decode(text)
    local met = #answer.messages
    if met > 0 then
      answer.messages, why, code = sift(topic, group, name, answer.messages)
      if not answer.messages then return nil, why, code end
    end
    settled = settled or answer.settled
    if met == 0 or #answer.messages > 0 then
      answer.settled = settled
      return json.encode(answer) .. "\n"
    end
    o.settle, o.wait = nil, math.max(0, over - core.time.clock())
  end
end

---Claims as core.group.claim does, and leaves out what the function of the group's filter does not take.
---@param topic string
---@param group string
---@param options lignum.Claim
---@return string? answer   in JSON
---@return string? message
---@return string? code
function M.claim(topic, group, options)
  local text, why, code = raw.claim(topic, group, options)
  if text == false then return claim_sifted(topic, group, options, why) end
  return text, why, code
end

return M
