--- /v1/topics: lists, creates, changes and deletes topics.
local access = require "lignum.access"
local core = require "lignum.core"
local forward = require "lignum.forward"
local http = require "lignum.http"
local policy = require "lignum.policy"
local reserved = require "lignum.reserved"
local route = require "lignum.route"
local schema = require "lignum.schema"

local topic, json = core.topic, core.json

local M = {}

local LIST = { pattern = true, prefix = true, after = true, limit = true, internal = true, names = true }
local CLEAR = { prefix = true, after = true, limit = true }
local LIMIT <const>, LIMIT_MAX <const> = core.limits.topics_page_default, core.limits.topics_page_max
local AT_ONCE <const> = 100        -- deletions that are committed together

local SWITCH_WAIT <const> = 30     -- seconds for the synced set to receive what a topic holds
local SWITCH_POLL <const> = 0.02   -- seconds between two checks of that

-- A topic as one object: settings, positions and followers.
local function describe(info)
  local all = {}
  for name, value in pairs(info) do all[name] = value end
  all.last_time = info.last_time and core.time.format(info.last_time)
  all.followers = json.array(info.followers or {})
  return all
end

-- The pattern that a query asks for; or nil and what is wrong with it.
local function pattern_of(query)
  if not query.prefix then return query.pattern or "*" end
  if query.pattern then return nil, "prefix and pattern exclude each other" end
  if query.prefix:find("[^%w._-]") then return nil, "prefix: no topic's name begins with that" end
  return query.prefix .. "*"
end

-- The first `limit` names that match and that the request may see, and whether there are more.
local function page_of(req, pattern, limit, after, own)
  local page, next = {}, after
  repeat
    local names
    names, next = core.topic_names(pattern, limit + 1 - #page, next, own)
    for i = 1, #names do
      if access.shows(req, names[i]) then page[#page + 1] = names[i] end
    end
    if next and #page <= limit then core.sleep(0) end
  until not next or #page > limit
  local more = #page > limit
  page[limit + 1] = nil
  return page, more
end

-- Wraps a handler that changes the topic in its path.
local function change(fn)
  return forward.write(function(req)
    local problem = reserved.problem(req.params.topic)
    if problem then return http.fail("forbidden", problem) end
    return fn(req)
  end)
end

---`GET /v1/topics`: one page of topics, or of their names, sorted by name.
---@param req lignum.Request
function M.list(req)
  local query, why, code = http.query(req, LIST)
  if not query then return http.fail(code, why) end
  local limit, internal, only, pattern
  limit, why, code = http.integer(query.limit, "limit", 1, LIMIT_MAX)
  if why then return http.fail(code, why) end
  internal, why, code = http.flag(query.internal, "internal")
  if why then return http.fail(code, why) end
  only, why, code = http.flag(query.names, "names")
  if why then return http.fail(code, why) end
  pattern, why = pattern_of(query)
  if not pattern then return http.fail("bad_value", why) end

  local names, more = page_of(req, pattern, limit or LIMIT, query.after, internal and not query.pattern)
  local after = more and names[#names] or nil
  if only then return 200, { names = json.array(names), after = after } end
  local page = json.array {}
  for i, name in ipairs(names) do
    local info = topic(name):info()
    page[#page + 1] = info and describe(info)
    if i % 500 == 0 then core.sleep(0) end
  end
  return 200, { topics = page, after = after }
end

---`DELETE /v1/topics?prefix=`: deletes one page of the topics whose names begin with it.
---@param req lignum.Request
function M.clear(req)
  local query, why, code = http.query(req, CLEAR)
  if not query then return http.fail(code, why) end
  local limit, pattern
  limit, why, code = http.integer(query.limit, "limit", 1, LIMIT_MAX)
  if why then return http.fail(code, why) end
  if not query.prefix or query.prefix == "" then return http.fail("bad_value", "prefix: name what is to be deleted") end
  pattern, why = pattern_of(query)
  if not pattern then return http.fail("bad_value", why) end
  why = reserved.problem(query.prefix)
  if why then return http.fail("forbidden", why) end

  local names, more = page_of(req, pattern, limit or LIMIT, query.after)
  local deleted, batch = 0, {}
  for i, name in ipairs(names) do
    if not reserved.problem(name) then batch[#batch + 1] = name end
    if #batch == AT_ONCE or i == #names then
      local count
      count, why, code = core.topics_delete(batch)
      if not count then return http.fail(code, why, { deleted = deleted }) end
      deleted, batch = deleted + count, {}
    end
  end
  return 200, { deleted = deleted, after = more and names[#names] or nil }
end

---`GET /v1/topics/{topic}`
---@param req lignum.Request
function M.get(req)
  local info, why, code = topic(req.params.topic):info()
  if not info then return http.fail(code, why) end
  return 200, describe(info)
end

-- The settings in a body; none in an empty body.
local function settings_of(req)
  if req.body == "" then return {} end
  local body, why, code, more = req:json()
  if not body then return nil, why, code, more end
  local problems = {}
  local settings = schema.check(schema.settings, body, "", function(path, problem)
    problems[#problems + 1] = path .. ": " .. problem
  end)
  if #problems > 0 then return nil, table.concat(problems, "; "), "bad_value" end
  return settings
end

---`PUT /v1/topics/{topic}`: creates it. The rules of lignum.lua decide the settings that the body does not give.
---@param req lignum.Request
function M.put(req)
  local given, why, code, more = settings_of(req)
  if not given then return http.fail(code, why, more) end
  local name = req.params.topic
  local t = topic(name)
  local created
  created, why, code = t:create((policy.settings(name, given)))
  if created == nil then return http.fail(code, why) end
  return created and 201 or 200, describe(t:info()), created and { Location = "/v1/topics/" .. name } or nil
end

-- Waits until the synced set has all messages below `tail`. Only then is a topic that has become live protected as a
-- whole, its older messages included.
local function wait_for_peers(t, tail)
  local deadline = core.time.clock() + SWITCH_WAIT
  while true do
    local info, why, code = t:info()
    if not info then return nil, why, code end
    if info.peers >= tail or info.replication ~= "live" then return info end
    if core.time.clock() > deadline then
      local late = "the topic is live, but the synced set has only its messages below %d; those below %d are due"
      return nil, late:format(info.peers, tail), "timeout"
    end
    core.sleep(SWITCH_POLL)
  end
end

---`PATCH /v1/topics/{topic}`. A change from wal to live is answered once the synced set has the topic's messages.
---@param req lignum.Request
function M.patch(req)
  local given, why, code, more = settings_of(req)
  if not given then return http.fail(code, why, more) end
  local t = topic(req.params.topic)
  local ok, problem, kind = t:set(given)
  if not ok then return http.fail(kind, problem) end
  local info = t:info()
  if given.replication == "live" and info then
    info, problem, kind = wait_for_peers(t, info.tail)
    if not info then return http.fail(kind, problem) end
  end
  return 200, describe(info or t:info())
end

---`DELETE /v1/topics/{topic}`
---@param req lignum.Request
function M.delete(req)
  local t = topic(req.params.topic)
  local ok, why, code = t:delete()
  if not ok then return http.fail(code, why) end
  return 204
end

route.get("/v1/topics", M.list, { action = "observe" })
route.delete("/v1/topics", forward.write(M.clear), { action = "admin", all = true })
route.get("/v1/topics/{topic}", M.get, { action = "read" })
route.put("/v1/topics/{topic}", change(M.put), { action = "admin" })
route.patch("/v1/topics/{topic}", change(M.patch), { action = "admin" })
route.delete("/v1/topics/{topic}", change(M.delete), { action = "admin" })

return M
