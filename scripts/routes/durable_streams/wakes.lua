--- Durable Streams: what happens to subscriptions.
---
--- A subscription wakes its consumer when a stream of it has messages that are not acknowledged. Its states:
---
---     idle    wake == nil                  nothing is pending, or the consumer is about to be woken
---     told    wake, not `deadline`         the wake has an id and a generation, and the consumer is being told: by a
---                                          request to its webhook, until that succeeds, or by a message in wake_stream
---     held    wake, `deadline`             a consumer works at it, under a lease
---
---     idle -> told    a stream has something pending; the generation rises by 1
---     told -> held    the webhook has answered 2xx; or a worker has claimed it
---     held -> idle    the consumer is done, gives it back, or lets its lease end
---
--- The wake is written before the consumer is told, so no two wakes have the same generation, through any failover. A
--- new leader tells the consumer again of a wake that is out.
local core = require "lignum.core"
local protocol = require "routes.durable_streams.protocol"
local state = require "routes.durable_streams.state"
local subscriptions = require "routes.durable_streams.subscriptions"

local crypto, json, clock = core.crypto, core.json, core.time.clock

local M = { networks = {} }              -- that webhooks may lead to besides the Internet

local SHOWN_MAX <const> = 1000           -- streams in one wake
local TASKS_MAX <const> = 32             -- at work at once; the others wait for the next look
local RETRY_FIRST <const>, RETRY_MAX <const> = 1, 60      -- seconds between two deliveries
local DELIVERY <const> = 30              -- seconds that a webhook has to answer
local ANSWER_MAX <const> = 64 << 10

local tasks = 0

-- What consumers are shown -----------------------------------------------------------------------

---The streams of a subscription, those with something pending first; at most SHOWN_MAX.
---@param sub lignum.StreamSubscription
---@return table[]
function M.shown(sub)
  local list = {}
  local function show(path, link)
    local s, v = subscriptions.stream(path)
    list[#list + 1] = {
      path = path, link_type = link.explicit and "explicit" or "glob", acked_offset = link.acked,
      tail_offset = s and v.tail or protocol.token(0, 0), has_pending = sub.pending[path] or false,
    }
  end
  for path in pairs(sub.pending) do
    if #list < SHOWN_MAX then show(path, sub.links[path]) end
  end
  for path, link in pairs(sub.links) do
    if #list >= SHOWN_MAX then break end
    if not sub.pending[path] then show(path, link) end
  end
  return list
end

-- Proves that this cluster has made a token of a wake, for this subscription and no other one of its id.
local function mac(all, sub, text)
  local bytes = crypto.hmac("sha256", all.key.secret, ("%s %.3f %s"):format(sub.id, sub.created, text))
  return crypto.encode(bytes, "base64url")
end

---@param all lignum.StreamSubscriptions   whose key is there
---@param sub lignum.StreamSubscription
function M.token(all, sub)
  local text = ("%d.%s"):format(sub.generation, sub.wake)
  return text .. "." .. mac(all, sub, text)
end

---@param all lignum.StreamSubscriptions
---@param sub lignum.StreamSubscription
---@param token string
---@return integer? generation   nil: the token is none of the subscription's
function M.generation_of(all, sub, token)
  local text, proof = token:match("^(%d+%.[%w_-]+)%.([%w_-]+)$")
  if not text or not all.key or not crypto.equal(proof, mac(all, sub, text)) then return nil end
  return math.tointeger(tonumber(text:match("^%d+")))
end

-- Waking -----------------------------------------------------------------------------------------

local function first_pending(sub)
  return next(sub.pending) or ""
end

-- idle -> told, in memory.
local function wake(sub)
  sub.generation, sub.holder, sub.deadline, sub.sent = sub.generation + 1, nil, nil, nil
  sub.wake = crypto.encode(crypto.random(12), "base64url")
end

-- held -> idle, and -> told if something is pending. Returns whether it is.
local function finish(sub)
  sub.wake, sub.holder, sub.deadline, sub.sent = nil, nil, nil, nil
  if not next(sub.pending) then return false end
  wake(sub)
  return true
end

-- Writes a subscription, with what has changed of its streams.
local function save(all, sub)
  local records = subscriptions.changes(sub)
  records[#records + 1] = subscriptions.record(sub)
  return subscriptions.save(all, records)
end

-- Marks a stream as acknowledged up to an offset.
local function acknowledge(sub, path, offset)
  local link = sub.links[path]
  if not link then return end
  link.acked, sub.changed[path] = offset, true
  subscriptions.look(sub, path)
end

-- Telling the consumer ---------------------------------------------------------------------------

local function signature(key, body)
  local time = ("%d"):format(math.floor(core.now()))
  local bytes = key.key:sign("EdDSA", time .. "." .. body)
  return ("t=%s,kid=%s,ed25519=%s"):format(time, key.kid, crypto.encode(bytes, "base64url"))
end

---The networks that a webhook may lead to: http only to those that lignum.lua lists.
---@param url string
---@return string[]
function M.networks_of(url)
  local list = table.move(M.networks, 1, #M.networks, 1, {})
  if url:find("^https:") then list[#list + 1] = "public" end
  return list
end

local function retry_later(sub, why)
  sub.failures = sub.failures + 1
  local pause = math.min(RETRY_FIRST * 2 ^ math.min(sub.failures - 1, 16), RETRY_MAX)
  sub.retry = clock() + pause * (0.8 + 0.4 * math.random())
  if sub.failures == 1 then
    core.say.warn("a webhook fails, and is tried again",
      { subscription = sub.id, url = sub.config.webhook.url, why = why })
  end
end

-- Whether the wake is still the one that was begun with.
local function is_still(all, sub, generation)
  return subscriptions.loaded() == all and all.all[sub.id] == sub and sub.generation == generation and sub.wake ~= nil
end

-- Returns whether the webhook was told.
local function tell_webhook(all, sub)
  local key, streams, generation = all.key, M.shown(sub), sub.generation
  local body = json.encode {
    subscription_id = sub.id, wake_id = sub.wake, generation = generation, streams = json.array(streams),
    callback_url = M.url(sub, "callback"), callback_token = M.token(all, sub),
  }
  local url = sub.config.webhook.url
  local answer, why = core.fetch {
    url = url, method = "POST", body = body, to = M.networks_of(url), timeout = DELIVERY, max = ANSWER_MAX,
    headers = { ["Content-Type"] = "application/json", ["Webhook-Signature"] = signature(key, body) },
  }
  if not is_still(all, sub, generation) then return true end      -- a callback has ended it meanwhile
  if not answer or answer.status < 200 or answer.status > 299 then
    if not sub.deadline then retry_later(sub, why or ("it answers %d"):format(answer.status)) end
    return false
  end
  sub.failures, sub.retry, sub.deadline = 0, 0, clock() + sub.config.lease_ttl_ms / 1000
  local said = json.decode(answer.body)
  if type(said) == "table" and said.done == true then
    for _, each in ipairs(streams) do
      if each.has_pending then acknowledge(sub, each.path, each.tail_offset) end
    end
    finish(sub)
    return save(all, sub) == true
  end
  return true
end

-- Appends a message to the stream that workers follow.
local function tell_workers(sub)
  local name = protocol.topic_name(sub.config.wake_stream)
  local event = json.encode {
    type = "wake", subscription_id = sub.id, stream = first_pending(sub), generation = sub.generation,
    ts = math.floor(core.now() * 1000),
  }
  for _ = 1, 100 do                      -- each that fails so has let another append pass
    local s, w = state.writer(name)
    if not s or s.gone or w.closed then
      core.say.warn("the stream that a subscription wakes its workers by cannot be appended to",
        { subscription = sub.id, stream = sub.config.wake_stream })
      return false
    end
    local done, _, code = state.append(s, w, { event }, { closed = false })
    if done then
      M.touched(sub.config.wake_stream)
      return true
    end
    if code ~= "precondition_failed" then return false end
  end
  return false
end

-- Working at them --------------------------------------------------------------------------------

-- Does the next thing that is due; false: nothing is.
local function step(all, sub)
  local now = clock()
  if sub.wake and sub.deadline and now >= sub.deadline then      -- held -> idle
    finish(sub)
    return save(all, sub)
  end
  if not sub.wake and next(sub.pending) then
    wake(sub)
    return save(all, sub)
  end
  if sub.wake and not sub.deadline and not sub.sent and now >= sub.retry then
    if sub.config.type == "webhook" then return tell_webhook(all, sub) end
    sub.sent = tell_workers(sub)
    if not sub.sent then sub.retry = now + RETRY_FIRST end
    return sub.sent
  end
  if next(sub.changed) then return subscriptions.save(all, subscriptions.changes(sub)) end
  return false
end

local function work(all, sub)
  local held <close> = setmetatable({}, { __close = function()      -- luacheck: ignore 211
    tasks, sub.busy = tasks - 1, nil
  end })
  while subscriptions.loaded() == all and all.all[sub.id] == sub and step(all, sub) do end
end

local function is_due(sub, now)
  if sub.wake and sub.deadline then return now >= sub.deadline or next(sub.changed) ~= nil end
  if sub.wake then return not sub.sent and now >= sub.retry or next(sub.changed) ~= nil end
  return next(sub.pending) ~= nil or next(sub.changed) ~= nil
end

local function start(all, sub)
  if sub.busy or tasks >= TASKS_MAX or not is_due(sub, clock()) then return end
  sub.busy, tasks = true, tasks + 1
  if not core.spawn(work, all, sub) then sub.busy, tasks = nil, tasks - 1 end      -- the next look does it
end
M.start = start

---A stream has been appended to, or created with messages. Where nothing is known yet, all streams will be looked at.
---@param path string
function M.touched(path)
  if subscriptions.is_empty() then return end
  local all = subscriptions.loaded()
  if not all then return subscriptions.note_later(path) end
  for _, sub in ipairs(subscriptions.note(all, path)) do start(all, sub) end
end

---A stream has been deleted.
---@param path string
function M.deleted(path)
  local all = subscriptions.loaded()
  if not all then return subscriptions.note_later(path) end
  for _, sub in ipairs(subscriptions.drop(all, path)) do start(all, sub) end
end

---Looks for what is due. A timer calls this on the leader.
function M.look()
  local all = subscriptions.current()
  if not all then return end
  for _, sub in pairs(all.all) do start(all, sub) end
end

-- What consumers ask for -------------------------------------------------------------------------

---@param sub lignum.StreamSubscription
---@param action string
function M.url(sub, action)
  return sub.base .. protocol.PREFIX .. "__ds/subscriptions/" .. sub.id .. "/" .. action
end

---told -> held, by a worker. A lease that is over has ended the wake that it was of.
---@param all lignum.StreamSubscriptions
---@param sub lignum.StreamSubscription
---@param worker string
function M.claim(all, sub, worker)
  if sub.deadline or not sub.wake then wake(sub) end
  sub.holder, sub.sent, sub.deadline = worker, true, clock() + sub.config.lease_ttl_ms / 1000
  return save(all, sub)
end

-- The problem of acknowledging this; nil: there is none.
local function ack_problem(sub, each)
  local path, offset = each.stream or each.path, each.offset
  local link = type(path) == "string" and sub.links[path]
  if not link then return "acks has a stream that is none of the subscription's" end
  if type(offset) ~= "string" or not offset:find("^%d+_%d+$") or #offset ~= 33 then return "an offset is malformed" end
  if offset < link.acked then return "an offset lies before what is acknowledged already" end
  local s, v = subscriptions.stream(path)
  if offset > (s and v.tail or protocol.token(0, 0)) then return "an offset lies beyond the end of its stream" end
end

---Acknowledges, and ends the wake if the consumer is done.
---@param all lignum.StreamSubscriptions
---@param sub lignum.StreamSubscription
---@param acks table[]
---@param done boolean
---@return boolean? ok
---@return boolean|string|nil next_wake   or the problem
---@return string? code
function M.ack(all, sub, acks, done)
  for _, each in ipairs(acks) do
    local problem = ack_problem(sub, each)
    if problem then return nil, problem, "INVALID_OFFSET" end
  end
  for _, each in ipairs(acks) do acknowledge(sub, each.stream or each.path, each.offset) end
  sub.deadline = clock() + sub.config.lease_ttl_ms / 1000
  local again = done and finish(sub) or false
  local ok, why, code = save(all, sub)
  if not ok then return nil, why, code end
  start(all, sub)
  return true, again
end

---held -> idle, by a worker that gives it back.
function M.release(all, sub)
  finish(sub)
  local ok, why, code = save(all, sub)
  if ok then start(all, sub) end
  return ok, why, code
end

return M
