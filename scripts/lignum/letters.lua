--- Dead letters: copies of a group's dead messages in the topic that its setting dead_letter names. A duty of the
--- leader.
---
--- A message is settled once its letter is on every member of the synced set. The letter's batch states which letter it
--- is, by its group and its message, so one whose writing is repeated, here or by the next leader, is written once. The
--- topic remembers its last 100,000 letters of 7 days by their own dates, however much time passes without letters; and
--- of each group at most one letter is written and not settled. So there is no second copy.
local core = require "lignum.core"

local raw = core.group
local M = {}

local AGAIN <const> = 0.2       -- seconds until letters that could not be written are tried again
local BATCH <const> = 100       -- letters of a group before the next one gets a turn
local SAID <const> = 10         -- seconds between two lines about a group whose letters cannot be written

-- The times of a message do not hold for its letter.
local DUE <const> = { ["lignum-delay"] = true, ["lignum-deliver-at"] = true, ["lignum-ttl"] = true }

local said = {}                 -- [topic/group] = when that was said last

local function complain(g, why)
  local name = g.topic .. "/" .. g.group
  local now = core.time.clock()
  if said[name] and now - said[name] < SAID then return end
  said[name] = now
  core.say.warn(("dead letters wait: group=%s error=%s"):format(name, why))
end

-- A message may have as many headers as fit, and a letter has more; without its own headers it always fits.
local function letter_of(m, g, token, d, with_headers)
  local headers = {}
  for name, value in pairs(with_headers and m.headers or {}) do
    if not DUE[name] then headers[name] = value end
  end
  headers["lignum-dead-topic"] = g.topic
  headers["lignum-dead-group"] = g.group
  headers["lignum-dead-offset"] = token
  headers["lignum-dead-deliveries"] = ("%d"):format(d.deliveries)
  headers["lignum-dead-why"] = d.why
  return { payload = m.payload, key = m.key, headers = headers }
end

-- Writes one letter. True, or nil and why not.
local function write(g, info, id, d)
  local batch, why = core.topic(g.topic):read { from = d.offset, to = d.offset + 1 }
  local m = batch and batch[1]
  if not m then return nil, why or "the message is not there" end
  local token = ("%d:%d:%d"):format(m.epoch, m.offset, info.topic_id)
  local to, options = core.topic(info.settings.dead_letter), {
    ack = "peers", letter = core.crypto.encode(core.crypto.sha256(id .. "/" .. token), "hex"),
  }
  local first, problem, code = core.append(to, letter_of(m, g, token, d, true), options)
  if not first and code == "too_large" then
    first, problem = core.append(to, letter_of(m, g, token, d, false), options)
  end
  return first, problem
end

-- Writes a group's letters. True when there is more to do.
local function write_all(g)
  local info = core.topic(g.topic):group(g.group):info()
  local list, id = raw.dying(g.topic, g.group, BATCH)
  if not info or not list then return false end
  for _, d in ipairs(list) do
    local ok, why = true, nil
    if info.settings.dead_letter ~= core.json.null then ok, why = write(g, info, id, d) end
    if ok then ok, why = raw.bury(g.topic, g.group, d.offset) end
    if not ok then
      complain(g, why)
      return true
    end
  end
  return #list == BATCH
end

local function work()
  local seen = 0
  repeat
    seen = raw.deaths(seen)
    local dying
    repeat
      dying = false
      for _, g in ipairs(raw.list()) do
        if g.dying > 0 and write_all(g) then dying = true end
      end
      if dying then core.sleep(AGAIN) end
    until not dying
  until not seen
end

-- Publishing letters again ---------------------------------------------------------------------

-- Which letters of a group were published again is the state of a group of its own, on the topic of letters.
local function redriver(topic, group, dead_letter)
  local name = "redrive-" .. core.crypto.encode(core.crypto.sha256(topic .. "/" .. group), "hex"):sub(1, 32)
  local g = core.topic(dead_letter):group(name)
  local created, why, code = g:create({ lease_time = 60, deliveries = 0 }, 0)
  if created == nil and code ~= "group_exists" then return nil, why, code end
  return g
end

-- The message that a letter is a copy of: without what the letter added.
local function original_of(m)
  local headers = {}
  for name, value in pairs(m.headers or {}) do
    if not name:find("^lignum%-d") then headers[name] = value end     -- a delay is over as well
  end
  return { payload = m.payload, key = m.key, headers = headers }
end

local function leases_of(list)
  local leases = {}
  for i, m in ipairs(list) do leases[i] = m.lease end
  return leases
end

-- Publishes a letter again, unless it is another group's. The letter's place
-- identifies what is sent.
local function send(m, g, info, to)
  local h = m.headers or {}
  if h["lignum-dead-topic"] ~= g.topic or h["lignum-dead-group"] ~= g.group then return 0 end
  local id = ("redrive/%s/%d:%d"):format(info.settings.dead_letter, m.epoch, m.offset)
  local once = core.crypto.encode(core.crypto.sha256(id), "hex")
  local first, why, code = core.append(core.topic(to), original_of(m), { ack = "peers", letter = once })
  if not first then return nil, why, code end
  return 1
end

---Publishes dead letters of a group again, each once, and at most `limit` of them.
---@param topic string
---@param group string
---@param limit integer
---@param to? string      the topic; nil: the group's own
---@return integer? published
---@return string? problem
---@return string? code
function M.redrive(topic, group, limit, to)
  local g = core.topic(topic):group(group)
  local info, why, code = g:info()
  if not info then return nil, why, code end
  if info.settings.dead_letter == core.json.null then return nil, "the group has no dead_letter", "bad_value" end
  local again
  again, why, code = redriver(topic, group, info.settings.dead_letter)
  if not again then return nil, why, code end
  local published = 0
  while published < limit do
    local list
    list, why, code = again:claim { limit = math.min(BATCH, limit - published) }
    if not list then return nil, why, code end
    if #list == 0 then break end
    local done = {}
    for _, m in ipairs(list) do
      local n
      n, why, code = send(m, { topic = topic, group = group }, info, to or topic)
      if not n then break end
      published, done[#done + 1] = published + n, m.lease
    end
    local rest = table.move(leases_of(list), #done + 1, #list, 1, {})
    local settled, problem, kind = again:settle { ack = done, release = rest }
    if not settled then return nil, problem, kind end
    if #done < #list then return nil, why, code end
  end
  return published
end

---@return { seconds: number, fn: function, where: string, duty: boolean }[]
function M.duties()
  return { { seconds = 1, fn = work, where = "the duty of dead letters", duty = true } }
end

return M
