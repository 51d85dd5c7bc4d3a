--- What runs by the messages of groups: the workers of `consume`, and the hook `on_retry`. Both are timers that
--- timers.c starts once lignum.lua is live and cancels at a reload; they do something on the leader alone.
local core = require "lignum.core"
local filter = require "lignum.filter"
local hooks = require "lignum.hooks"
local modules = require "lignum.modules"

local raw, clock = core.group, core.time.clock
local M = {}

local AGAIN <const> = 1        -- seconds until a worker that has ended begins again
local WAIT <const> = 30        -- seconds of one claim
local SAID <const> = 60        -- seconds between two lines about a worker that cannot claim
local BATCH <const> = 100      -- retries of a group before the next one gets a turn

local function follows()
  return core.cluster.status().role == "follower"
end

-- consume --------------------------------------------------------------------------------------

-- What settles a message, by what the worker's function has returned for it.
local function settle_of(where, lease, verdict, detail)
  if verdict == nil then return { ack = { lease } } end
  if verdict == "release" and (detail == nil or math.type(detail)) then
    return { release = { { lease = lease, delay = detail } } }
  end
  if verdict == "reject" and (detail == nil or type(detail) == "string") then
    return { reject = { { lease = lease, why = detail } } }
  end
  error(where .. ': must return nothing, "release" [, seconds] or "reject" [, why]', 0)
end

-- Gives one message to the function. Where that fails, the message is released, and the error goes on.
local function give(w, m)
  local began, over = clock(), false
  w.settle = { release = { m.lease } }
  local _ <close> = setmetatable({}, { __close = function(_, problem)
    core.called("timer", w.where, clock() - began, problem)
    if not over and problem == nil then raw.give_back(w.topic, w.group, { m.lease }) end      -- a reload cancels it
  end })
  w.settle = settle_of(w.where, m.lease, w.fn(m))
  over = true
end

local function work(w)
  while not follows() do
    local text, why, code = filter.claim(w.topic, w.group, { consumer = "lignum.lua", wait = WAIT, settle = w.settle })
    if not text then
      if code ~= "not_leader" and code ~= "stopping" and clock() - w.said > SAID then
        core.say.warn(("%s: %s"):format(w.where, why))
        w.said = clock()
      end
      return
    end
    w.settle = nil
    local m = core.json.decode(text).messages[1]
    if m then give(w, filter.message(m)) end
  end
end

---`consume(topic, group, fn)`
---@param place string
---@return lignum.Timer?
---@return string? problem
function M.consume(place, topic, group, fn)
  if type(topic) ~= "string" or type(group) ~= "string" or type(fn) ~= "function" then
    return nil, "consume: needs the names of a topic and a group, and a function"
  end
  local where = ("consume %s/%s at %s"):format(topic, group, place)
  local w = { topic = topic, group = group, fn = fn, where = where, said = -math.huge }
  return { seconds = AGAIN, fn = function() work(w) end, where = where, uncounted = true }
end

-- on_retry -------------------------------------------------------------------------------------

-- What the hook says of one message: a delay, "dead", or nil for what the group's settings say.
local function decide(hook, place, m, d)
  local ok, answer = hooks.ask("on_retry", place, hook, m, d.deliveries, d.why)
  local problem = not ok and answer
  if ok and answer ~= nil and answer ~= "dead" and
    not (math.type(answer) and answer >= 0 and answer <= core.limits.group_delay_ms_max / 1000) then
    problem = ('%s: on_retry must return seconds, "dead" or nothing'):format(place)
  end
  if not problem then return answer end
  core.say.error(tostring(problem))
end

local function decide_all(hook, place, g)
  local list = raw.ended(g.topic, g.group, BATCH)
  for _, d in ipairs(list or {}) do
    local batch = core.topic(g.topic):read { from = d.offset, to = d.offset + 1 }
    local m = batch and batch[1]
    if m then raw.retry(g.topic, g.group, d.offset, d.deliveries, decide(hook, place, modules.copy(m), d)) end
  end
  return list ~= nil and #list > 0
end

-- Returns when this node does not lead any more, and is called again.
local function decide_retries(hook, place)
  local seen = 0
  while not follows() do
    seen = raw.retries(seen)
    if not seen then return end
    local some
    repeat
      some = false
      for _, g in ipairs(raw.list()) do
        if g.ended > 0 and decide_all(hook, place, g) then some = true end
      end
    until not some
  end
end

---The timer of the hook on_retry; nil without one.
---@return lignum.Timer?
function M.retries()
  local hook, place = hooks.get("on_retry")
  raw.decide_retries(hook ~= nil)
  if not hook then return nil end
  return { seconds = AGAIN / 4, fn = function() decide_retries(hook, place) end, where = "on_retry", uncounted = true }
end

return M
