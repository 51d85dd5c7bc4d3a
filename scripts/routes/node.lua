--- What an operator asks of one node: /v1/node, /v1/canary, /v1/reload, /v1/marks, /v1/cluster/adopt and
--- /v1/topics/{topic}/trim. None of them is forwarded: they are about the node that gets them.
local canary = require "lignum.canary"
local core = require "lignum.core"
local http = require "lignum.http"
local range = require "lignum.range"
local reserved = require "lignum.reserved"
local roster = require "lignum.roster"
local route = require "lignum.route"

local topic, json = core.topic, core.json

local M = {}

-- What `?canary=` asks for: a share of the messages, or "abort".
local function canary_of(text)
  if text == "abort" then return text end
  local number = tonumber((text:gsub("%%$", "")))
  return number and number > 0 and number <= 100 and number / 100
end

---`POST /v1/reload`: loads lignum.lua and the scripts again. With `?canary=5%` as a canary, which `?canary=abort` ends.
function M.reload(req)
  local asked = req.query.canary
  local what = asked and canary_of(asked)
  if asked and not what then return http.fail("bad_value", "canary: a share such as 5%, or abort") end
  if what == "abort" then return 200, { status = canary.abort() and "aborted" or "off" } end
  local ok, why, code
  if what then ok, why, code = canary.begin(what) else ok, why, code = core.node.reload() end
  if not ok then return http.fail(code, why) end
  return 200, { status = what and "canary" or "reloaded" }
end

---`GET /v1/canary`: what the canary has judged otherwise.
function M.canary()
  return 200, canary.report()
end

---`GET /v1/node`: what this node is, and what its canary has judged.
function M.get()
  local info = core.node.info()
  info.ready, info.why = core.node.ready()
  info.canary = canary.report()
  return 200, info
end

-- Writes what topics' files lack of the messages that there are now.
local function write_files()
  local left = core.node.write_files()
  while left > 0 do
    core.sleep(0)
    left = core.node.write_files(left)
  end
end

---`GET /v1/marks`: up to where each topic can be read here, the broker's own included, all at one moment: nothing waits
---in between. What the records of groups say is about messages below the marks of their topics.
function M.marks()
  if roster.status().lacks_topics then
    return http.fail("unavailable", "this node does not know yet which topics there are")
  end
  local node, topics, now = core.node.info(), json.array {}, core.now()
  for _, pattern in ipairs { "*", "_*" } do
    for _, t in ipairs(core.topics(pattern)) do
      local info = t:info()
      if info then
        topics[#topics + 1] = { name = info.name, first = info.first, next = info.next, peers = info.peers }
      end
    end
  end
  write_files()                        -- a client of this route reads them next
  return 200, {
    node = node.name, incarnation = node.incarnation, cluster = node.cluster, version = node.version,
    time = core.time.format(now), topics = topics,
  }
end

---`POST /v1/cluster/adopt`: makes Consul's register this node's own (lignum.cluster.adopt).
function M.adopt()
  if roster.status().role == "alone" then return http.fail("conflict", "this node belongs to no cluster") end
  local ok, why, code = roster.adopt()
  if not ok then return http.fail(code, why) end
  return 200, { status = "adopted" }
end

---`POST /v1/topics/{topic}/trim`: removes whole files that have only messages below `before`.
---@param req lignum.Request
function M.trim(req)
  local name = core.Request.param(req, "topic")
  local problem = reserved.problem(name)
  if problem then return http.fail("forbidden", problem) end
  local body, why, code = req:json { before = "any" }
  if not body then return http.fail(code, why) end
  local t = topic(name)
  local offset
  offset, why, code = range.place(t, body.before, "before")
  if not offset then return http.fail(code, why) end
  local ok
  ok, why, code = t:trim(offset)
  if ok == nil then return http.fail(code, why) end
  local info = t:info()
  return 200, { topic = name, first = info.first, next = info.next }
end

local ADMIN <const> = { action = "admin", all = true }

route.get("/v1/marks", M.marks, ADMIN)
route.post("/v1/reload", M.reload, ADMIN)
route.get("/v1/node", M.get, { action = "observe", all = true })
route.get("/v1/canary", M.canary, { action = "observe", all = true })
route.post("/v1/cluster/adopt", M.adopt, ADMIN)
route.post("/v1/topics/{topic}/trim", M.trim, { action = "admin" })

return M
