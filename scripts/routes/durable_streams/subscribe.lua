--- Durable Streams: /v1/stream/__ds, the subscriptions over HTTP. The leader answers all of it.
local core = require "lignum.core"
local protocol = require "routes.durable_streams.protocol"
local publish = require "lignum.publish"
local subscriptions = require "routes.durable_streams.subscriptions"
local wakes = require "routes.durable_streams.wakes"

local json = core.json

local M = {}

local TRIES <const> = 100                -- of a change that others come before
local LEASE <const>, LEASE_MIN <const>, LEASE_MAX <const> = 30000, 1000, 600000      -- milliseconds
local PATTERN_MAX <const>, STARS_MAX <const>, TEXT_MAX <const> = 512, 8, 1024
local RESOLVED <const> = 5               -- seconds in which the name of a webhook has to be resolved

local STATUS <const> = {
  INVALID_REQUEST = 400, WEBHOOK_URL_REJECTED = 400, TOKEN_INVALID = 401, SUBSCRIPTION_NOT_FOUND = 404,
  SUBSCRIPTION_ALREADY_EXISTS = 409, FENCED = 409, ALREADY_CLAIMED = 409, NO_PENDING_WORK = 409, INVALID_OFFSET = 409,
  TOO_MANY = 409,
}

local function answer(status, body)
  return status, body and json.encode(body) .. "\n", protocol.dress {
    ["Content-Type"] = body and "application/json" or nil, ["Cache-Control"] = "no-store",
  }
end

-- An error in the protocol's form; one of the broker's own in that of the broker.
local function refuse(code, message, more)
  if not STATUS[code] then return publish.fail(code, message) end
  local err = { code = code, message = message }
  for name, value in pairs(more or {}) do err[name] = value end
  return answer(STATUS[code], { error = err })
end

local function not_found()
  return refuse("SUBSCRIPTION_NOT_FOUND", "there is no such subscription")
end

-- Reading requests -------------------------------------------------------------------------------

-- The object in a body; nil and an answer.
local function body_of(req)
  if req.body == "" then return {} end
  local body = json.decode(req.body)
  if type(body) ~= "table" or json.is_array(body) then
    return nil, refuse("INVALID_REQUEST", "the body must be a JSON object")
  end
  return body
end

local function trim(path)
  return (path:gsub("^/+", ""):gsub("/+$", ""))
end

-- A list of paths; nil: it is none.
local function paths_in(list)
  if type(list) ~= "table" or not json.is_array(list) or #list > subscriptions.LINKS_MAX then return nil end
  local paths = {}
  for i, path in ipairs(list) do
    paths[i] = type(path) == "string" and trim(path) or ""
    if not protocol.topic_name(paths[i]) then return nil end
  end
  return paths
end

local function is_text(value, max)
  return type(value) == "string" and value ~= "" and #value <= max
end

local function pattern_problem(pattern)
  if pattern == nil then return nil end
  if not is_text(pattern, PATTERN_MAX) then return ("pattern must have 1 to %d bytes"):format(PATTERN_MAX) end
  local _, stars = pattern:gsub("%*+", "")
  if stars > STARS_MAX then return ("pattern must have at most %d *"):format(STARS_MAX) end
end

-- What a body asks for; nil and the problem.
local function config_of(body)
  local kind, hook, lease = body.type, body.webhook, body.lease_ttl_ms or LEASE
  local streams = paths_in(body.streams or json.array {})
  local problem = kind ~= "webhook" and kind ~= "pull-wake" and "type must be webhook or pull-wake"
    or pattern_problem(body.pattern)
    or not streams and "streams must be a list of paths"
    or not body.pattern and #streams == 0 and "pattern or streams is missing"
    or (math.type(lease) ~= "integer" or lease < LEASE_MIN or lease > LEASE_MAX)
      and ("lease_ttl_ms must be a whole number from %d to %d"):format(LEASE_MIN, LEASE_MAX)
    or kind == "webhook" and not (type(hook) == "table" and is_text(hook.url, TEXT_MAX)) and "webhook.url is missing"
    or kind == "pull-wake" and not is_text(body.wake_stream, TEXT_MAX) and "wake_stream is missing"
    or kind == "pull-wake" and not protocol.topic_name(trim(body.wake_stream)) and "wake_stream must be a stream's path"
    or body.description ~= nil and type(body.description) ~= "string" and "description must be a string"
    or #(body.description or "") > TEXT_MAX and ("description has more than %d bytes"):format(TEXT_MAX)
  if problem then return nil, problem end
  table.sort(streams)
  local config = {
    type = kind, pattern = body.pattern and trim(body.pattern), streams = json.array(streams), lease_ttl_ms = lease,
    description = body.description, webhook = kind == "webhook" and { url = hook.url } or nil,
    wake_stream = kind == "pull-wake" and trim(body.wake_stream) or nil,
  }
  if not config.wake_stream then return config end
  local own = config.pattern and config.wake_stream:find(subscriptions.compile(config.pattern))
  for _, path in ipairs(streams) do own = own or path == config.wake_stream end
  if own then return nil, "wake_stream must be none of the subscription's own streams" end
  return config
end

-- Whether a webhook may lead to where its URL leads now. It is asked again of each connection.
local function webhook_problem(url)
  local to = wakes.networks_of(url)
  if #to == 0 then return "webhook.url must use https" end
  if url:find("^%w+://[^/]*@") then return "webhook.url must not have a user and a password" end
  local found, why, code = core.fetch { url = url, to = to, connect = false, timeout = RESOLVED }
  if found then return nil end
  if code == "busy" then return nil end      -- unknown yet
  return "webhook.url: " .. why
end

-- Answers ----------------------------------------------------------------------------------------

local function described(all, sub)
  local c = sub.config
  local streams = {}
  for path, link in pairs(sub.links) do
    streams[#streams + 1] =
      { path = path, link_type = link.explicit and "explicit" or "glob", acked_offset = link.acked }
  end
  table.sort(streams, function(a, b) return a.path < b.path end)
  local hook = c.webhook and {
    url = c.webhook.url,
    signing = { alg = "ed25519", kid = all.key.kid, jwks_url = sub.base .. protocol.PREFIX .. "__ds/jwks.json" },
  }
  return {
    id = sub.id, subscription_id = sub.id, type = c.type, pattern = c.pattern, streams = json.array(streams),
    webhook = hook, wake_stream = c.wake_stream, lease_ttl_ms = c.lease_ttl_ms, description = c.description,
    created_at = core.time.format(sub.created), status = sub.failures > 0 and "failed" or "active",
  }
end

-- Calls fn(all), again each time that another task has come first. It returns an answer, or nil, message, code.
local function change(fn)
  local status, why, code, more
  for _ = 1, TRIES do
    local all
    all, why, code = subscriptions.current()
    if not all then return refuse(code, why) end
    status, why, code, more = fn(all)
    if status then return status, why, code end
    if code ~= "precondition_failed" then return refuse(code, why, more) end
  end
  return refuse("busy", "other changes of subscriptions came first each time")
end

-- The same for a subscription that exists.
local function change_one(req, fn)
  return change(function(all)
    local sub = all.all[req:param("id")]
    if not sub then return not_found() end
    return fn(all, sub)
  end)
end

-- Subscriptions ----------------------------------------------------------------------------------

-- Links streams by name, and those that match; from where they end now.
local function link_all(all, sub, paths, glob)
  for _, path in ipairs(paths) do
    local link = sub.links[path]
    if not link then
      local s, v = subscriptions.stream(path)
      link = { acked = s and v.tail or "-1", id = s and s.id }
      subscriptions.set_link(all, sub, path, link)
    end
    if glob then link.glob = true else link.explicit = true end
    sub.changed[path] = true
  end
end

local function matching(pattern)
  local lua, paths = pattern and subscriptions.compile(pattern), {}
  for _, t in ipairs(lua and core.topics(protocol.TOPICS .. "*") or {}) do
    local path = (t:labels() or {}).path
    if path and path:find(lua) and subscriptions.stream(path) then paths[#paths + 1] = path end
  end
  return paths
end

local function create(all, id, config, base)
  local paths = matching(config.pattern)
  if all.count >= subscriptions.COUNT_MAX then
    return nil, ("there are %d subscriptions already"):format(subscriptions.COUNT_MAX), "TOO_MANY"
  end
  local sub = { id = id, config = config, created = core.now(), base = base }
  if not subscriptions.has_room(all, { count = 0 }, #config.streams + #paths) then
    return nil, "the subscription has too many streams", "TOO_MANY"
  end
  subscriptions.add(all, sub)
  link_all(all, sub, config.streams)
  link_all(all, sub, paths, true)
  local records = subscriptions.changes(sub)
  table.insert(records, 1, subscriptions.record(sub))
  local ok, why, code = subscriptions.save(all, records)
  if not ok then return nil, why, code end
  return answer(201, described(all, sub))
end

local function same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then return a == b end
  for name, value in pairs(a) do if not same(value, b[name]) then return false end end
  for name in pairs(b) do if a[name] == nil then return false end end
  return true
end

local function put(req)
  local id = req:param("id")
  if #id > 128 or not id:find("^[%w._~-]+$") then
    return refuse("INVALID_REQUEST", "the id of a subscription has 1 to 128 letters, digits, '.', '_', '~' and '-'")
  end
  local body, status, text, headers = body_of(req)
  if not body then return status, text, headers end
  local config, problem = config_of(body)
  if not config then return refuse("INVALID_REQUEST", problem) end
  local unsafe
  return change(function(all)
    local sub = all.all[id]
    if sub and not same(sub.config, config) then
      return refuse("SUBSCRIPTION_ALREADY_EXISTS", "there is a subscription of this id that asks for something else")
    end
    if sub then return answer(200, described(all, sub)) end
    if config.webhook and unsafe == nil then
      unsafe = webhook_problem(config.webhook.url) or false
      if unsafe then return refuse("WEBHOOK_URL_REJECTED", unsafe) end
      return nil, "others may have come first meanwhile", "precondition_failed"
    end
    local key, why, code = subscriptions.key(all)
    if not key then return nil, why, code end
    if all.all[id] then return nil, "another request has created it", "precondition_failed" end
    return create(all, id, config, protocol.url(req, ""))
  end)
end

local function get(req)
  return change_one(req, function(all, sub)
    local ok, why, code = subscriptions.settle(all)
    if not ok then return nil, why, code end
    return answer(200, described(all, sub))
  end)
end

local function delete(req)
  return change(function(all)
    local sub = all.all[req:param("id")]
    if not sub then return answer(204) end
    subscriptions.forget(all, sub)
    local ok, why, code = subscriptions.save(all, { { key = "subscription " .. sub.id, payload = "" } })
    if not ok then return nil, why, code end
    return answer(204)
  end)
end

local function save_links(all, sub)
  local records = subscriptions.changes(sub)
  local ok, why, code = subscriptions.save(all, records)
  if not ok then return nil, why, code end
  return answer(204)
end

local function add_streams(req)
  local body, status, text, headers = body_of(req)
  if not body then return status, text, headers end
  local paths = paths_in(body.streams)
  if not paths or #paths == 0 then return refuse("INVALID_REQUEST", "streams must be a list of paths") end
  return change_one(req, function(all, sub)
    local more = 0
    for _, path in ipairs(paths) do more = more + (sub.links[path] and 0 or 1) end
    if not subscriptions.has_room(all, sub, more) then
      return nil, "the subscription has too many streams", "TOO_MANY"
    end
    link_all(all, sub, paths)
    return save_links(all, sub)
  end)
end

local function remove_stream(req)
  return change_one(req, function(all, sub)
    local path = trim((req:param("path"):gsub("%%2[Ff]", "/")))
    local link = sub.links[path]
    if not link or not link.explicit then return answer(204) end
    link.explicit = nil
    if not link.glob then subscriptions.set_link(all, sub, path, nil) end
    sub.changed[path] = true
    return save_links(all, sub)
  end)
end

-- Wakes ------------------------------------------------------------------------------------------

local function is_pull(sub)
  return sub.config.type == "pull-wake"
end

local function claim(req)
  local body, status, text, headers = body_of(req)
  if not body then return status, text, headers end
  if not is_text(body.worker, TEXT_MAX) then return refuse("INVALID_REQUEST", "worker is missing") end
  return change_one(req, function(all, sub)
    if not is_pull(sub) then return nil, "the subscription is not of type pull-wake", "INVALID_REQUEST" end
    if sub.holder and sub.deadline > core.time.clock() then
      return nil, "another worker has claimed it", "ALREADY_CLAIMED",
        { current_holder = sub.holder, generation = sub.generation }
    end
    if not next(sub.pending) then return nil, "nothing is pending", "NO_PENDING_WORK" end
    local ok, why, code = wakes.claim(all, sub, body.worker)
    if not ok then return nil, why, code end
    return answer(200, {
      wake_id = sub.wake, generation = sub.generation, token = wakes.token(all, sub),
      lease_ttl_ms = sub.config.lease_ttl_ms, streams = json.array(wakes.shown(sub)),
    })
  end)
end

-- A request by the token of a wake: calls fn(all, sub, body) if that wake is still out.
local function by_token(req, pull, fn)
  local token = (req:header("authorization") or ""):match("^[Bb]earer +(%S+)$")
  if not token then return refuse("TOKEN_INVALID", "the header Authorization: Bearer TOKEN is missing") end
  local body
  return change_one(req, function(all, sub)
    local generation = wakes.generation_of(all, sub, token)
    if not generation then return nil, "the token is not one of this subscription", "TOKEN_INVALID" end
    if is_pull(sub) ~= pull then
      return nil, "the subscription is of type " .. sub.config.type, "INVALID_REQUEST"
    end
    local status, text, headers
    body, status, text, headers = body_of(req)
    if not body then return status, text, headers end
    if generation ~= sub.generation or body.generation ~= generation or body.wake_id ~= sub.wake or not sub.wake then
      return nil, "the wake is over", "FENCED"
    end
    return fn(all, sub, body)
  end)
end

local function acknowledge(pull)
  return function(req)
    return by_token(req, pull, function(all, sub, body)
      local acks = body.acks == nil and {} or body.acks
      if type(acks) ~= "table" or #acks > subscriptions.LINKS_MAX then
        return nil, "acks must be a list", "INVALID_REQUEST"
      end
      for _, each in ipairs(acks) do
        if type(each) ~= "table" then return nil, "acks must have objects", "INVALID_REQUEST" end
      end
      local ok, again, code = wakes.ack(all, sub, acks, body.done == true)
      if not ok then return nil, again, code end
      return answer(200, { ok = true, next_wake = again })
    end)
  end
end

local function release(req)
  return by_token(req, true, function(all, sub)
    local ok, why, code = wakes.release(all, sub)
    if not ok then return nil, why, code end
    return answer(204)
  end)
end

local function jwks()
  return change(function(all)
    local key, why, code = subscriptions.key(all)
    if not key then return nil, why, code end
    local jwk = key.key:jwk()
    jwk.kid, jwk.use, jwk.alg = key.kid, "sig", "EdDSA"
    return 200, json.encode { keys = json.array { jwk } } .. "\n", protocol.dress {
      ["Content-Type"] = "application/jwk-set+json", ["Cache-Control"] = "public, max-age=300",
    }
  end)
end

-- Access -----------------------------------------------------------------------------------------

local function topic_of(req)
  return protocol.TOPICS .. "__ds.subscriptions." .. (req:param("id") or "")
end

-- What a subscription shows and writes to: the paths and offsets of its streams. For a pattern these are two names that
-- only a token with a * in this place covers.
local function also(req)
  local body, list = json.decode(req.body), {}
  if type(body) ~= "table" then return list end
  for _, path in ipairs(paths_in(body.streams) or {}) do list[#list + 1] = { "read", protocol.topic_name(path) } end
  if is_text(body.pattern, PATTERN_MAX) then
    local path = trim(body.pattern):match("^[^*]*")
    local before = protocol.TOPICS .. path:gsub("[^%w%-/]", protocol.escape):gsub("/", ".")
    list[#list + 1] = { "read", before .. "*" }
    list[#list + 1] = { "read", before .. "**" }
  end
  local wake = is_text(body.wake_stream, TEXT_MAX) and protocol.topic_name(trim(body.wake_stream))
  if wake then list[#list + 1] = { "publish", wake } end
  return list
end

---Declares the routes by declare(method, path, handler, access), which has the leader answer.
---@param declare fun(method: string, path: string, fn: function, access: table)
function M.declare(declare)
  local base = protocol.PREFIX .. protocol.RESERVED
  local one = base .. "/subscriptions/{id}"
  local function about(action, more) return { action = action, topic = topic_of, also = more } end
  local open = { action = "observe", topic = topic_of, open = true }      -- who has the token of a wake may use it
  declare("GET", base .. "/jwks.json", jwks, open)
  declare("PUT", one, put, about("admin", also))
  declare("GET", one, get, about("read"))
  declare("DELETE", one, delete, about("admin"))
  declare("POST", one .. "/streams", add_streams, about("admin", also))
  declare("DELETE", one .. "/streams/{path...}", remove_stream, about("admin"))
  declare("POST", one .. "/claim", claim, about("consume"))
  declare("POST", one .. "/callback", acknowledge(false), open)
  declare("POST", one .. "/ack", acknowledge(true), open)
  declare("POST", one .. "/release", release, open)
end

return M
