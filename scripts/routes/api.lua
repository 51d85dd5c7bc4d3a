--- /api: the original interface (doc/http.md, "The original interface").
local access = require "lignum.access"
local core = require "lignum.core"
local forward = require "lignum.forward"
local http = require "lignum.http"
local policy = require "lignum.policy"
local publish = require "lignum.publish"
local reserved = require "lignum.reserved"
local route = require "lignum.route"
local schema = require "lignum.schema"

local topic, encode = core.topic, core.json.encode
local strings = core.Request.strings
local format = string.format

local M = {}

local READ = { topic = "string", from = "any?", to = "any" }
local ALL <const> = core.limits.read_count_max
local MOST <const> = core.limits.read_size_max
local PIECE <const> = 1000     -- messages per read of a large range

---`GET /ping`
function M.ping()
  return 200, "PONG"
end

---`POST /api/message`: appends one message of text.
---@param req lignum.Request
function M.post(req)
  local name, message = strings(req, "topic", "message")
  if not name then       -- long, or wrong, and then this says what is
    local body, why, code, more = req:json { topic = "string", message = "string" }
    if not body then return publish.fail(code, why, more) end
    name, message = body.topic, body.message
  end
  if name == "" then return publish.fail("bad_topic", "topic must not be empty") end

  local receipt, why, code, more = publish.request(req, name, message)
  if receipt == false then
    local first, count, epoch, t, found = publish.messages(name, { { payload = message } }, req)
    receipt, why, code, more = publish.receipt(req, first, count, epoch, t, found, nil, message)
  end
  if not receipt then return publish.fail(code, why, more) end
  return 200, receipt, http.JSON
end

local function number_in(text)
  return text and text:find("^%d+$") and tonumber(text) or text
end

local function query_of(req)
  local query, why, code = http.query(req, READ)
  if not query then return nil, why, code end
  local problem = http.check_shape(query, READ)
  if problem then return nil, problem, "bad_value" end
  return { topic = query.topic, from = number_in(query.from), to = number_in(query.to) }
end

-- The topic and range of a read, from the body (the original form) or from the query.
local function asked_of(req)
  local asked, why, code, more
  if req.body == "" then
    asked, why, code = query_of(req)
  else
    asked, why, code, more = req:json(READ)
  end
  if asked and asked.topic == "" then return nil, "topic must not be empty", "bad_value" end
  return asked, why, code, more
end

local function offsets_of(asked)
  local from, why, code = http.offset(asked.from or 0, "from")
  if not from then return nil, why, code end
  local to
  to, why, code = http.offset(asked.to, "to")
  if not to then return nil, why, code end
  if from >= to then
    return nil, format("from must be less than to: the range is [from, to), and this one is [%d, %d)",
      from, to), "bad_range"
  end
  return from, to
end

local function items(batch)
  local parts = {}
  for i = 1, #batch do
    local m = batch[i]
    parts[i] = format('{"Id":%d,"Data":%s}', m.offset, encode(m.payload))
  end
  return table.concat(parts, ",")
end

-- Streams a range that is too large for one batch in several reads: clients of this interface expect the whole range.
local function stream(t, from, to)
  return function(write)
    local count = 0
    write('{"messages":[')
    while from < to do
      local batch = assert(t:read { from = from, to = to, limit = PIECE })
      if #batch == 0 or not write((count > 0 and "," or "") .. items(batch)) then break end
      from, count = batch.next, count + #batch
      core.sleep(0)
    end
    write(format('],"count":%d}\n', count))
  end
end

---`GET /api/message`: the messages of [from, to), as far as they exist.
---@param req lignum.Request
function M.get(req)
  local asked, why, code, more = asked_of(req)
  if not asked then return http.fail(code, why, more) end
  local from, to, range_code = offsets_of(asked)
  if not from then return http.fail(range_code, to) end

  local t = topic(asked.topic)
  local info = t:info()
  if not info then return http.fail("bad_value", "topic: there is no topic of that name") end
  local batch
  batch, why, code = t:read { from = from, to = to, limit = ALL, bytes = MOST }
  if not batch then return http.fail(code, why, { earliest = info.first }) end
  if batch.next >= to or batch.next >= info.next then return 200, batch:as("api"), http.JSON end
  return 200, stream(t, from, math.min(to, info.next)), http.JSON
end

---`GET /api/topics`
---@param req lignum.Request
function M.topics(req)
  local list = core.json.array {}
  for i, t in ipairs(core.topics()) do
    local info = access.shows(req, t.name) and t:info()
    if info then list[#list + 1] = { name = info.name, message_count = info.next - info.first } end
    if i % 1000 == 0 then core.sleep(0) end
  end
  return 200, list
end

---`POST /api/topics`
---@param req lignum.Request
function M.create(req)
  local body, why, code, more = req:json { name = "string", replication = "string?", copies = "integer?" }
  if not body then return http.fail(code, why, more) end
  local given = schema.check(schema.settings, { replication = body.replication, copies = body.copies }, "",
    function(path, problem) why = path .. ": " .. problem end)
  if why then return http.fail("bad_value", why) end
  local problem = reserved.problem(body.name)
  if problem then return http.fail("forbidden", problem) end

  local created
  created, why, code = topic(body.name):create((policy.settings(body.name, given)))
  if created == nil then return http.fail(code, why) end
  if not created then return http.fail("topic_exists", "the topic exists already") end
  return 201, { name = body.name, message_count = 0 }
end

-- Which topic a request is about: a member of its body, or what M.get reads.
local function topic_in(member)
  return function(req)
    local body = req:json()
    return body and type(body[member]) == "string" and body[member] or nil
  end
end

local function topic_asked(req)
  local asked = asked_of(req)
  return asked and asked.topic
end

route.get("/ping", M.ping, { action = "observe" })
route.post("/api/message", forward.write(M.post), { action = "publish", topic = topic_in("topic") })
route.get("/api/message", M.get, { action = "read", topic = topic_asked })
route.get("/api/topics", M.topics, { action = "observe" })
route.post("/api/topics", forward.write(M.create), { action = "admin", topic = topic_in("name") })

return M
