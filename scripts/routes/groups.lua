--- /v1/topics/{topic}/groups: consumer groups (doc/http.md, "Groups").
local access = require "lignum.access"
local core = require "lignum.core"
local events = require "lignum.events"
local forward = require "lignum.forward"
local http = require "lignum.http"
local letters = require "lignum.letters"
local policy = require "lignum.policy"
local range = require "lignum.range"
local reserved = require "lignum.reserved"
local route = require "lignum.route"
local stream = require "lignum.stream"

local topic, json, raw = core.topic, core.json, core.group
local limits = core.limits
local param = core.Request.param

local M = {}

local place = range.place
local WAIT_MAX <const> = limits.wait_ms_max / 1000
local CLAIM = { consumer = "string?", limit = "integer?", bytes = "integer?", wait = "number?", settle = "object?" }
local SETTLE = { ack = "list?", release = "list?", reject = "list?", extend = "list?" }

local function names(req)
  return param(req, "topic"), param(req, "group")
end

-- A body that may be missing.
local function object_of(req, shape)
  local text = req.body
  if text == "" then return {} end
  return http.decode_object(text, shape)
end

-- What stands in the way of a group that is blocked.
local function describe_blocked(b)
  local text = b.key and utf8.len(b.key)
  return {
    offset = b.offset, reason = b.reason, held = b.held, consumer = b.consumer,
    ["until"] = b["until"] and core.time.format(b["until"]), key = text and b.key or nil,
    key_base64 = b.key and not text and core.base64.encode(b.key) or nil,
  }
end

-- A group as one object.
local function describe(info)
  local oldest, consumers = info.oldest, json.array {}
  for i, c in ipairs(info.consumers) do
    consumers[i] = { name = c.name, leased = c.leased, last = c.last > 0 and core.time.format(c.last) or json.null }
  end
  return {
    topic = info.topic, group = info.group, settings = info.settings, generation = info.generation,
    cursor = ("%d:%d:%d"):format(info.epoch, info.cursor, info.topic_id), lag = info.lag, leased = info.leased,
    scheduled = info.scheduled, blocked = info.blocked and describe_blocked(info.blocked) or json.null,
    oldest = oldest or json.null, redelivered = info.redelivered,
    dying = info.dying, dead = info.dead, removed = info.removed, outdated = info.outdated, consumers = consumers,
  }
end

local function answer(status, name, group, headers)
  local info, why, code = topic(name):group(group):info()
  if not info then return http.fail(code, why) end
  headers = headers or {}
  headers.ETag = ('"%d"'):format(info.generation)
  return status, describe(info), headers
end

local function fail_place(code, why, point)
  point = point or {}
  return http.fail(code, why, { epoch = point.epoch, offset = point.offset })
end

---`PUT /v1/topics/{topic}/groups/{group}`: creates it.
---@param req lignum.Request
function M.put(req)
  local name, group = names(req)
  local body, why, code = object_of(req)
  if not body then return http.fail(code, why) end
  local from, point
  if body.from == nil then body.from = "latest" end
  from, why, code, point = place(topic(name), body.from, "from")
  if not from then return fail_place(code, why, point) end
  body.from = nil
  local created
  created, why, code = topic(name):group(group):create(body, from)
  if created == nil then return http.fail(code, why) end
  local location = created and { Location = ("/v1/topics/%s/groups/%s"):format(name, group) } or nil
  return answer(created and 201 or 200, name, group, location)
end

---`PATCH /v1/topics/{topic}/groups/{group}`: changes settings.
---@param req lignum.Request
function M.patch(req)
  local name, group = names(req)
  local body, why, code = req:json()
  if not body then return http.fail(code, why) end
  if body.from ~= nil then return http.fail("bad_value", "from says where a group begins; POST .../seek moves it") end
  local ok
  ok, why, code = topic(name):group(group):set(body)
  if not ok then return http.fail(code, why) end
  return answer(200, name, group)
end

---`DELETE /v1/topics/{topic}/groups/{group}`
---@param req lignum.Request
function M.delete(req)
  local name, group = names(req)
  local ok, why, code = topic(name):group(group):delete()
  if not ok then return http.fail(code, why) end
  return 204
end

---`GET /v1/topics/{topic}/groups/{group}`
---@param req lignum.Request
function M.get(req)
  return answer(200, names(req))
end

---`GET /v1/topics/{topic}/groups`: all of a topic, sorted by name.
---@param req lignum.Request
function M.list(req)
  local name = param(req, "topic")
  local all, why, code = topic(name):groups()
  if not all then return http.fail(code, why) end
  local list = json.array {}
  for i, group in ipairs(all) do
    local info = group:info()
    if info then list[#list + 1] = describe(info) end
    if i % 100 == 0 then core.sleep(0) end
  end
  return 200, { groups = list }
end

local function check_claim(body)
  local limit, bytes, wait = body.limit or 1, body.bytes or limits.read_size_default, body.wait or 0
  if limit < 1 or limit > limits.claim_count_max then return "limit must be 1 to " .. limits.claim_count_max end
  if bytes < 1 or bytes > limits.read_size_max then return "bytes must be 1 to " .. limits.read_size_max end
  if not (wait >= 0 and wait <= WAIT_MAX) then return ("wait must be 0 to %g seconds"):format(WAIT_MAX) end
  if body.consumer and #body.consumer > limits.group_consumer_name_max then
    return ("consumer must have at most %d bytes"):format(limits.group_consumer_name_max)
  end
  if body.consumer and body.consumer:find("\0", 1, true) then return "consumer must not have a NUL" end
  return body.settle and http.check_shape(body.settle, SETTLE)
end

---`POST /v1/topics/{topic}/groups/{group}/claim`: leases messages.
---@param req lignum.Request
function M.claim(req)
  local body, why, code = object_of(req, CLAIM)
  if not body then return http.fail(code, why) end
  local problem = check_claim(body)
  if problem then return http.fail("bad_value", problem) end
  local name, group = names(req)
  local text
  text, why, code = raw.claim_filtered(name, group, body)
  if not text then return http.fail(code, why) end
  return 200, text, http.JSON
end

-- How long a claim may wait, on whichever node.
local function wait_of(req)
  local body = object_of(req, CLAIM)
  return body and body.wait and math.min(math.max(body.wait, 0), WAIT_MAX) or 0
end

---`POST /v1/topics/{topic}/groups/{group}/settle`: acknowledges, releases, rejects and extends leases.
---@param req lignum.Request
function M.settle(req)
  local body, why, code = req:json(SETTLE)
  if not body then return http.fail(code, why) end
  local name, group = names(req)
  local results
  results, why, code = raw.settle(name, group, body)
  if not results then return http.fail(code, why) end
  return 200, '{"results":' .. results .. "}\n", http.JSON
end

local EVENTS <const> = { "text/event-stream" }
local REDRIVE <const> = 1000   -- letters of one redrive, by default
local MOST <const> = 100       -- messages that a stream has leased at once, by default

---`GET /v1/topics/{topic}/groups/{group}/events`: leases messages, and sends each as an event.
---@param req lignum.Request
function M.events(req)
  local query, why, code = http.query(req, { consumer = true, lease_max = true })
  if not query then return http.fail(code, why) end
  local most
  most, why, code = http.integer(query.lease_max, "lease_max", 1, limits.group_ahead_max)
  if why then return http.fail(code, why) end
  local problem = check_claim { consumer = query.consumer }
  if problem then return http.fail("bad_value", problem) end
  if not req:header("accept") or not http.accepts(req:header("accept"), EVENTS) then
    return http.fail("not_acceptable", "messages are events: Accept must be text/event-stream")
  end
  local name, group = names(req)
  local info
  info, why, code = raw.info(name, group)
  if not info then return http.fail(code, why) end
  local s = { topic = name, group = group, consumer = query.consumer or "", most = most or MOST }
  return 200, req.method == "HEAD" and "" or events.of(s), stream.HEADERS
end

-- Sets the cursor, and answers with the group.
local function move(req, body, field, generation)
  local name, group = names(req)
  local offset, why, code, point = place(topic(name), body[field], field)
  if not offset then return fail_place(code, why, point) end
  local ok, present
  ok, why, code, present = topic(name):group(group):seek(offset, generation)
  if not ok then return http.fail(code, why, { generation = present }) end
  return answer(200, name, group)
end

---`POST /v1/topics/{topic}/groups/{group}/seek`: moves the cursor.
---@param req lignum.Request
function M.seek(req)
  local body, why, code = req:json { to = "any" }
  if not body then return http.fail(code, why) end
  return move(req, body, "to")
end

---`POST /v1/topics/{topic}/groups/{group}/redrive`: publishes the group's dead letters again.
---@param req lignum.Request
function M.redrive(req)
  local body, why, code = object_of(req, { limit = "integer?", to = "string?" })
  if not body then return http.fail(code, why) end
  local limit = body.limit or REDRIVE
  if limit < 1 or limit > limits.claim_count_max then
    return http.fail("bad_value", "limit must be 1 to " .. limits.claim_count_max)
  end
  local problem = body.to and reserved.problem(body.to)
  if problem then return http.fail("forbidden", problem) end
  local name, group = names(req)
  local published
  published, why, code = letters.redrive(name, group, limit, body.to)
  if not published then return http.fail(code, why) end
  return 200, { published = published }
end

---`PUT /v1/topics/{topic}/groups/{group}/cursor`: for consumers that track themselves what they have done.
---@param req lignum.Request
function M.cursor(req)
  local match = req:header("if-match")
  if not match then return http.fail("precondition_required", "If-Match must be the group's generation, its ETag") end
  local generation = match:match('^"?(%d+)"?$')
  if not generation or #generation > limits.offset_digits_max then
    return http.fail("bad_value", "If-Match must be a generation, such as 3")
  end
  local body, why, code = req:json { next = "string" }
  if not body then return http.fail(code, why) end
  return move(req, body, "next", math.tointeger(tonumber(generation)))
end

-- What a PUT does: it creates a group, and changes nothing of one that is there.
local function may_put(req)
  return policy.auto_group(param(req, "topic") or "") and "consume" or "admin"
end

-- The member of a body that names another topic, to which the call publishes.
local function publishes_to(member)
  return function(req)
    local body = req:json()
    local other = body and body[member]
    return type(other) == "string" and other ~= "" and { { "publish", other } } or {}
  end
end

-- A redrive publishes to the topic that it names, or to the group's own, and reads the dead letters.
local function redriven(req)
  local other = publishes_to("to")(req)
  if not other[1] then other[1] = { "publish", param(req, "topic") } end
  return other
end

-- What a claim has leased, and must not be sent any more.
local function give_back(req, body)
  local claimed = type(body) == "string" and json.decode(body)
  local leases = {}
  for i, m in ipairs(type(claimed) == "table" and claimed.messages or {}) do leases[i] = m.lease end
  local name, group = names(req)
  if #leases > 0 then raw.give_back(name, group, leases) end
end

local ALL <const> = "/v1/topics/{topic}/groups"
local ONE <const> = ALL .. "/{group}"

local OF_ALL = { after = true, limit = true }
local PAGE <const>, PAGE_MAX <const> = 100, 1000

---`GET /v1/groups`: one page of the groups of all topics, sorted by topic and name.
---@param req lignum.Request
function M.all(req)
  local query, why, code = http.query(req, OF_ALL)
  if not query then return http.fail(code, why) end
  local limit
  limit, why, code = http.integer(query.limit, "limit", 1, PAGE_MAX)
  if why then return http.fail(code, why) end
  local list = raw.list()
  for i, g in ipairs(list) do list[i] = { id = g.topic .. "/" .. g.group, topic = g.topic, group = g.group } end
  table.sort(list, function(a, b) return a.id < b.id end)
  local page, last = json.array {}, nil
  for _, g in ipairs(list) do
    if (not query.after or g.id > query.after) and access.shows(req, g.topic) then
      if #page == (limit or PAGE) then return 200, { groups = page, after = last } end
      local info = topic(g.topic):group(g.group):info()
      if info then page[#page + 1] = describe(info) end
      last = g.id
      if #page % 100 == 0 then core.sleep(0) end
    end
  end
  return 200, { groups = page }
end

route.get("/v1/groups", forward.write(M.all), { action = "observe" })
route.get(ALL, forward.write(M.list), { action = "observe" })
route.get(ONE, forward.write(M.get), { action = "observe" })
route.put(ONE, forward.write(M.put), { action = may_put, also = publishes_to("dead_letter") })
route.patch(ONE, forward.write(M.patch), { action = "admin", also = publishes_to("dead_letter") })
route.delete(ONE, forward.write(M.delete), { action = "admin" })
route.post(ONE .. "/claim", forward.write(M.claim, wait_of), { action = "consume", undo = give_back })
route.post(ONE .. "/settle", forward.write(M.settle), { action = "consume" })
route.get(ONE .. "/events", forward.write(M.events, function() return "redirect" end), { action = "consume" })
route.post(ONE .. "/seek", forward.write(M.seek), { action = "admin" })
route.post(ONE .. "/redrive", forward.write(M.redrive, function() return WAIT_MAX end),
  { action = "admin", also = redriven })
route.put(ONE .. "/cursor", forward.write(M.cursor), { action = "consume" })

return M
