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

local LIST = { pattern = true, after = true, limit = true, internal = true }
local LIMIT <const>, LIMIT_MAX <const> = core.limits.topics_page_default, core.limits.topics_page_max

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

local function named(query, internal)
  local list = core.topics(query.pattern)
  if internal and not query.pattern then
    local own = core.topics("_*")
    table.move(own, 1, #own, #list + 1, list)
    table.sort(list, function(a, b) return a.name < b.name end)
  end
  return list
end

-- Wraps a handler that changes the topic in its path.
local function change(fn)
  return forward.write(function(req)
    local problem = reserved.problem(req.params.topic)
    if problem then return http.fail("forbidden", problem) end
    return fn(req)
  end)
end

---`GET /v1/topics`: one page of topics, sorted by name.
---@param req lignum.Request
function M.list(req)
  local query, why, code = http.query(req, LIST)
  if not query then return http.fail(code, why) end
  local limit, internal
  limit, why, code = http.integer(query.limit, "limit", 1, LIMIT_MAX)
  if why then return http.fail(code, why) end
  internal, why, code = http.flag(query.internal, "internal")
  if why then return http.fail(code, why) end

  local page, last = json.array {}, nil
  for _, t in ipairs(named(query, internal)) do
    if (not query.after or t.name > query.after) and access.shows(req, t.name) then
      if #page == (limit or LIMIT) then return 200, { topics = page, after = last } end
      local info = t:info()
      page[#page + 1] = info and describe(info)
      last = t.name
      if #page % 500 == 0 then core.sleep(0) end
    end
  end
  return 200, { topics = page }
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
route.get("/v1/topics/{topic}", M.get, { action = "read" })
route.put("/v1/topics/{topic}", change(M.put), { action = "admin" })
route.patch("/v1/topics/{topic}", change(M.patch), { action = "admin" })
route.delete("/v1/topics/{topic}", change(M.delete), { action = "admin" })

return M
