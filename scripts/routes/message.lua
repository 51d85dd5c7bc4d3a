--- /v1/topics/{topic}/messages: publish and read.
local core = require "lignum.core"
local filters = require "lignum.filter"
local forward = require "lignum.forward"
local http = require "lignum.http"
local policy = require "lignum.policy"
local publish = require "lignum.publish"
local range = require "lignum.range"
local reserved = require "lignum.reserved"
local route = require "lignum.route"
local stream = require "lignum.stream"

local topic, follows = core.topic, core.cluster.follows
-- Kept in locals: looking up a method of a request or topic costs as much as calling it.
local header, param, read_request = core.Request.header, core.Request.param, core.Request.read
local media_type, request, JSON = http.media_type, publish.request, http.JSON
local format = string.format

local M = {}

-- Publish --------------------------------------------------------------------------------------

-- Publishes a body whose messages on_publish has to see one by one.
local function post_messages(req)
  if follows() then return nil, "this node follows", "not_leader" end      -- before the hook sees anything
  local coding, kind = header(req, "content-encoding", "content-type")
  local problem = http.encoded(coding)
  if problem then return nil, problem, "unsupported_media" end
  local messages, why, code, more
  if media_type(kind) == "application/json" then
    messages, why, code, more = req:envelopes()
  else
    messages, why, code, more = req:messages()
  end
  if not messages then return nil, why, code, more end
  return publish.receipt(req, publish.messages(param(req, "topic"), messages, req))
end

-- Refusals that follow from what this node's log holds. A leader that another one has replaced, and that does not know
-- it yet, would refuse what the other one takes.
local BY_THE_LOG <const> = { sequence_gap = true, fenced = true, precondition_failed = true }

-- The answer to a publish that has failed. One that follows from the log is given by a leader that is sure to be one.
local function refuse(req, code, why, more)
  if BY_THE_LOG[code] then
    local sure, doubt, kind = topic(param(req, "topic")):barrier()
    if not sure and kind ~= "unknown_topic" then
      return publish.fail("no_leader", "this node cannot tell whether it still leads: " .. doubt)
    end
    if follows() then return publish.fail("no_leader", "this node does not lead any more") end
  end
  return publish.fail(code, why, more)
end

---`POST /v1/topics/{topic}/messages`
---@param req lignum.Request
function M.post(req)
  local receipt, why, code, more = request(req)
  if receipt == false then receipt, why, code, more = post_messages(req) end
  if not receipt then return refuse(req, code, why, more) end
  return 200, receipt, JSON
end

-- Read -----------------------------------------------------------------------------------------

-- A client that may not wait (too many do) is disconnected, so that its connection becomes free.
local function fail(code, why, more)
  local status, body, headers = http.fail(code, why, more)
  if code == "too_many_requests" then headers.Connection = "close" end
  return status, body, headers
end

local NDJSON <const> = "application/x-ndjson"
local EVENTS <const> = "text/event-stream"
local RECORDS <const> = "application/vnd.lignum.records"
local PRODUCED = { "application/json", NDJSON, EVENTS, RECORDS }

-- Resumes a read: last_event_id names the client's last message; the read continues after it. The header is for event
-- streams. Returns the problem, if there is one.
local function resume(req, query, kind)
  local id = kind == EVENTS and req:header("last-event-id") or query.last_event_id
  if not id or id == "" then return nil end
  local epoch, offset, topic_id = range.token(id)
  if not epoch then return "Last-Event-ID must be epoch:offset:topic, not " .. id end
  query.from = format(topic_id and "%d:%d:%d" or "%d:%d", epoch, offset + 1, topic_id)
end

-- The filter of a query: its parameters `key` and `header.NAME`; nil: it has none.
local function filter_of(query)
  local filter
  for name, value in pairs(query) do
    local named = name:match("^header%.(.+)$")
    if named or name == "key" then filter = filter or {} end
    if named then
      filter.headers = filter.headers or {}
      filter.headers[named] = value
    end
  end
  if not filter then return nil end
  filter.key = query.key
  local packed, problem = filters.pack(filter)
  if not packed then return nil, problem end
  return filter
end

local GONE <const> = "offset %d is gone; the earliest is %d"
local FORMS = { ["application/json"] = "json", [NDJSON] = "ndjson", [RECORDS] = "records" }

local function fail_read(t, why, code, point)
  local info = t:info()
  point = point or {}
  return fail(code, why, { earliest = info and info.first, epoch = point.epoch, offset = point.offset })
end

-- What does not apply to the form of the answer, or nil.
local function misplaced(query, raw, values, kind, filter)
  if kind == RECORDS and raw then return "raw does not apply to records" end
  if values and (raw or kind == RECORDS) then
    return ("json does not apply to %s"):format(raw and "raw payloads" or "records")
  end
  if kind == RECORDS and filter then return "key and header.NAME do not apply to records" end
  if kind ~= EVENTS then return nil end
  if query.bytes then return "bytes does not apply to an event stream" end
  if query.wait and not query.min_offset then return "wait applies to an event stream only with min_offset" end
end

-- Whether an event stream of a topic that does not exist waits for it: it has no place in a topic of that name, and the
-- first publish would create it.
local function may_come(req, query)
  local name, from = param(req, "topic"), query.from or "earliest"
  local places = from == "earliest" or from == "latest" or from == "0"
  if not places or query.to or query.min_offset or reserved.problem(name) then return false end
  return select(2, policy.settings(name))
end

-- Answers a query that the core leaves to the script.
local function get_by_query(req, query, kind)
  local raw, why, code = http.flag(query.raw, "raw")
  if why then return http.fail(code, why) end
  local values
  values, why, code = http.flag(query.json, "json")
  if why then return http.fail(code, why) end
  if not kind then return http.fail("not_acceptable", "messages are available as " .. table.concat(PRODUCED, ", ")) end

  if raw and kind == PRODUCED[1] then kind = NDJSON end       -- payloads, one per line
  local filter
  filter, why = filter_of(query)
  why = why or resume(req, query, kind) or misplaced(query, raw, values, kind, filter)
  if why then return http.fail("bad_value", why) end
  local t = topic(param(req, "topic"))
  local info
  info, why, code = range.find(t, query)
  local events = raw and "raw_events" or values and "events_values" or "events"
  if not info and code == "unknown_topic" and kind == EVENTS and may_come(req, query) then
    local limit
    limit, why, code = http.integer(query.limit, "limit", 1, core.limits.read_count_max)
    if why then return http.fail(code, why) end
    return 200, req.method == "HEAD" and "" or stream.from_creation(t, events, limit, filter), stream.HEADERS
  end
  if not info then return http.fail(code, why) end
  local asked, point
  asked, why, code, point = range.of(t, info, query)
  if not asked then
    point = point or {}
    return fail(code, why, { earliest = info.first, next = info.next, epoch = point.epoch, offset = point.offset })
  end

  if kind == EVENTS then
    if asked.from < info.first then return fail_read(t, GONE:format(asked.from, info.first), "offset_gone") end
    local limit = query.limit and asked.limit
    return 200, req.method == "HEAD" and "" or stream.events(t, asked, events, limit, filter), stream.HEADERS
  end
  local form = kind == NDJSON and raw and "raw" or FORMS[kind]
  local what = {
    from = asked.from, epoch = asked.epoch, to = asked.to, limit = asked.limit, bytes = asked.bytes,
    format = form == "records" and form or nil, filter = filter,
  }
  local batch
  batch, why, code, point = range.read(t, what, asked)
  if not batch then return fail_read(t, why, code, point) end
  if form ~= "records" then batch:as(values and form .. "_values" or form) end
  if asked.fixed and batch:known(req) then return 304, nil, batch end
  return 200, batch, batch      -- a batch renders itself, and its headers (api.lua, lignum.Batch)
end

---`GET /v1/topics/{topic}/messages`
---@param req lignum.Request
function M.get(req)
  local kind = http.accepts(header(req, "accept"), PRODUCED)
  local form = FORMS[kind]
  if form then     -- the core handles the most frequent queries itself, including the wait
    local batch, known, code = read_request(req, nil, form)
    if batch then return known and 304 or 200, not known and batch or nil, batch end
    if batch == nil then return fail_read(topic(param(req, "topic")), known, code) end
  end
  local query, why, code = http.query(req, range.PARAMETERS, "header.")
  if not query then return http.fail(code, why) end
  return get_by_query(req, query, kind)
end

local write = forward.write(M.post, nil, forward.is_idempotent, true)
route.post("/v1/topics/{topic}/messages", write, { action = "publish" })
route.get("/v1/topics/{topic}/messages", M.get, { action = "read" })

return M
