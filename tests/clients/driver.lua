-- Does the steps of tests/system/test_clients.py with rocks/lignum_client.lua: a step is a line of JSON on stdin, and
-- its answers are lines of JSON on stdout, of which the last one has "result" or "error".
local root = arg[0]:match("^(.*)/tests/clients/")
package.path = root .. "/rocks/?.lua;" .. package.path

local json = require "dkjson"
local lignum = require "lignum_client"
local transport = require "lignum_client.transport"

local log
local producers = {}

local function say(what)
  io.write(json.encode(what), "\n")
  io.flush()
end

local function outgoing(list)
  local out = {}
  for i, m in ipairs(list) do
    out[i] = {
      payload = m.base64 and transport.from_base64(m.base64) or m.data,
      headers = m.headers, delay = m.delay, ttl = m.ttl,
      key = m.key_base64 and transport.from_base64(m.key_base64) or m.key,
    }
  end
  return out
end

local function shown(m)
  return {
    offset = m.offset, base64 = transport.to_base64(m.payload) or "", key_base64 = m.key and transport.to_base64(m.key),
    headers = setmetatable(m.headers, { __jsontype = "object" }), lease = m.lease, delivery = m.delivery,
  }
end

local function all_shown(list)
  local out = setmetatable({}, { __jsontype = "array" })
  for i, m in ipairs(list) do out[i] = shown(m) end
  return out
end

local steps = {}

function steps.publish(s)
  return log:publish(s.topic, outgoing(s.messages), { id = s.id, expect = s.expect })
end

function steps.produce(s)
  local name = ("%s %s %s"):format(s.topic, s.producer, s.epoch)
  producers[name] = producers[name] or log:producer(s.topic, s.producer, s.epoch)
  return producers[name]:publish(outgoing(s.messages))
end

function steps.read(s)
  local list, token, last = log:read(s.topic, { from = s.from, limit = s.limit })
  if not list then return nil, token, last end
  return { messages = all_shown(list), next = last, next_token = token }
end

function steps.follow(s)
  local left = s.count
  for m in log:follow(s.topic, {
    from = s.from, wait = 1,
    on_truncated = function(offset) say { truncated = offset } end,
    on_gap = function(from, earliest) say { gap = { from, earliest } } end,
  }) do
    say { message = shown(m) }
    left = left - 1
    if left == 0 then return true end
  end
end

function steps.work(s)
  local done, count = {}, 0
  return log:group(s.topic, s.group):work(function(m)
    if m.payload == s.fails and m.delivery == 1 then error("not yet") end
    if not done[m.payload] then done[m.payload], count = true, count + 1 end
    say { done = m.payload }
  end, {
    limit = 4, wait = 1,
    stop = function() return count >= s.count end,
    on_error = function(_, m) say { failed = m.payload } end,
  })
end

function steps.create_topic(s) return log:create_topic(s.topic, s.settings) end
function steps.create_group(s) return log:group(s.topic, s.group):create(s.settings) end
function steps.group(s) return log:group(s.topic, s.group):info() end

function steps.claim(s)
  local list, why, code = log:group(s.topic, s.group):claim { limit = s.limit, wait = s.wait }
  if not list then return nil, why, code end
  return all_shown(list)
end

function steps.settle(s)
  local group = log:group(s.topic, s.group)
  return group[s.verb](group, s, s.value)
end

function steps.prefer_leader()
  local url, why, code = log:prefer_leader()
  if not url then return nil, why, code end
  return { url, log.urls[1] }
end

for line in io.lines() do
  local s = json.decode(line)
  if s["do"] == "connect" then
    log = lignum.connect(s.urls, { token = s.token, ca = s.ca, timeout = s.timeout, patience = s.patience })
    say { result = json.null }
  else
    local result, why, code = steps[s["do"]](s)
    if result == nil then say { error = code, detail = why } else say { result = result } end
  end
end
