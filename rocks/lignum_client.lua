--- A client of Lignum's HTTP interface (doc/http.md): publish, read, follow, groups. For Lua 5.1 to 5.4 and LuaJIT,
--- over luasocket and luasec, and for OpenResty, over its cosockets.
---
---     local lignum = require "lignum_client"
---     local log = lignum.connect({ "http://node-1:8080", "http://node-2:8080" }, { token = "lgn_..." })
---     log:publish("orders", { payload = "hello", key = "42" })
---     for m in log:follow("orders", { from = "earliest" }) do print(m.offset, m.payload) end
---
--- Every call goes to one node, and to the next one when that cannot be reached or cannot serve, until it is answered
--- or `timeout` is over. It may be sent several times, and is done once. All calls wait: in OpenResty for that request
--- alone, elsewhere for the process. A call that fails returns nil, a message, the code of doc/http.md ("unreachable"
--- or "timeout" when no node has answered) and a table with all members of the answer.
local json = require "dkjson"
local transport = require "lignum_client.transport"

local M = {}

M.VERSION = "0.1.0"

local RETRY_MIN, RETRY_MAX = 0.1, 2     -- seconds between two attempts
local KEPT_TURNS = 1000                 -- changes of epoch that a follower remembers

---@class lignum.Client
---@field urls string[]       of nodes; the first one that serves is used
---@field headers table<string, string>   sent with every request
---@field timeout number      seconds for a call in all; what a node may wait before it answers comes on top
---@field patience number     seconds after which a node that does not answer is left, if there is another
local Client = {}
Client.__index = Client

---@param urls string|string[]  "http://127.0.0.1:8080"
---@param options? { token?: string, ca?: string, cert?: string, key?: string, verify?: boolean, server_name?: string,
---  timeout?: number, patience?: number, headers?: table<string, string> }  ca, cert, key: files; in OpenResty
---  nginx.conf names them; server_name: the name in the nodes' certificates, where it is not that in the URL
---@return lignum.Client
---@example local log = lignum.connect("https://node-1:8443", { token = "lgn_...", ca = "ca.pem" })
function M.connect(urls, options)
  options = options or {}
  local self = {
    urls = {}, at = 0, open = {}, headers = {},
    timeout = options.timeout or 30, patience = options.patience or 12,
    ca = options.ca, cert = options.cert, key = options.key, verify = options.verify,
    server_name = options.server_name,
  }
  for i, url in ipairs(type(urls) == "table" and urls or { urls }) do self.urls[i] = (url:gsub("/+$", "")) end
  for name, value in pairs(options.headers or {}) do self.headers[name] = value end
  if options.token then self.headers.Authorization = "Bearer " .. options.token end
  return setmetatable(self, Client)
end

-- Calls ------------------------------------------------------------------------------------------------

local function random_id()
  local file = assert(io.open("/dev/urandom", "rb"))
  local bytes = file:read(16)
  file:close()
  return (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

local function object(t)
  return setmetatable(t or {}, { __jsontype = "object" })
end

-- One attempt at one node: its answer, or nil and a problem.
local function attempt(client, method, path, body, headers, timeout)
  local url = client.urls[client.at % #client.urls + 1]
  local status, answered, content = transport.request(client, url, method, path, headers, body, timeout)
  if not status then
    local code = (answered == "timeout" or answered == "wantread") and "timeout" or "unreachable"
    local untrusted = answered:find("certificate", 1, true)
    return nil, { code = code, detail = ("%s: %s"):format(url, answered), retryable = not untrusted }
  end
  local answer = json.decode(content)
  if status >= 200 and status < 300 then return answer or {} end
  local problem = {
    code = "http_" .. status, retryable = status >= 502,
    detail = ("%s %s is answered with %d"):format(method, path, status),
  }
  for name, value in pairs(type(answer) == "table" and answer or {}) do problem[name] = value end
  problem.status, problem.wait = status, tonumber(answered["retry-after"]) or 0
  return nil, problem
end

---One call, sent again and to the next node as long as that can help.
---@param method string
---@param path string
---@param body? table|string   a table is sent as JSON
---@param options? { headers?: table<string, string>, wait?: number }  wait: seconds for which the node may wait
---@return table? answer
---@return string? message
---@return string? code
---@return table? problem
---@example log:call("GET", "/v1/cluster")
function Client:call(method, path, body, options)
  options = options or {}
  local headers = { Accept = "application/json" }
  for _, more in ipairs { self.headers, options.headers or {} } do
    for name, value in pairs(more) do headers[name] = value end
  end
  if body then
    headers["Content-Type"] = "application/json"
    if type(body) == "table" then body = json.encode(body) end
  end
  local wait = options.wait or 0
  local ends, tries = transport.now() + self.timeout + wait, 0
  while true do
    local left = ends - transport.now()
    if #self.urls > 1 then left = math.min(left, self.patience + wait) end
    local answer, problem = attempt(self, method, path, body, headers, math.max(0.001, left))
    if answer then return answer end
    left = ends - transport.now()
    if not problem.retryable or left <= 0 then return nil, problem.detail or problem.title, problem.code, problem end
    self.at = self.at + 1
    local pause = math.min(RETRY_MAX, RETRY_MIN * 2 ^ math.min(tries, 10)) * (0.5 + math.random() / 2)
    if #self.urls == 1 then pause = math.max(pause, problem.wait or 0) end
    transport.sleep(math.min(pause, left))
    tries = tries + 1
  end
end

local function escape(text)
  return (tostring(text):gsub("[^%w._~-]", function(c) return ("%%%02X"):format(c:byte()) end))
end

-- "%d" for numbers, which LuaJIT would write as 1e+15.
local function as_text(value)
  return type(value) == "number" and value % 1 == 0 and ("%.0f"):format(value) or tostring(value)
end

local function path_of(words, query)
  local parts, given = { "/v1/topics" }, {}
  for _, word in ipairs(words) do parts[#parts + 1] = escape(word) end
  for name, value in pairs(query or {}) do given[#given + 1] = name .. "=" .. escape(as_text(value)) end
  table.sort(given)
  return table.concat(parts, "/") .. (#given > 0 and "?" .. table.concat(given, "&") or "")
end

-- Topics and nodes ----------------------------------------------------------------------------------------

---Creates a topic. One with these settings may be there already.
---@param topic string
---@param settings? table
---@return table? topic
---@example log:create_topic("orders", { replication = "live", copies = 2 })
function Client:create_topic(topic, settings)
  return self:call("PUT", path_of { topic }, object(settings))
end

---The topic's settings and state.
---@param topic string
---@return table? topic
function Client:topic(topic)
  return self:call("GET", path_of { topic })
end

---Deletes a topic and its messages.
---@param topic string
---@return table? empty
function Client:delete_topic(topic)
  return self:call("DELETE", path_of { topic })
end

---Puts the leader's address first, so that writes need no forwarding.
---@return string? url  or nil when nobody leads
---@return string? message
---@return string? code
function Client:prefer_leader()
  local cluster, why, code = self:call("GET", "/v1/cluster")
  if not cluster then return nil, why, code end
  local leader = cluster.leader and cluster.leader.http
  if not leader then return nil, "no node leads", "no_leader" end
  local urls = { leader }
  for _, url in ipairs(self.urls) do
    if url ~= leader then urls[#urls + 1] = url end
  end
  self.urls, self.at = urls, 0
  return leader
end

-- Publish ------------------------------------------------------------------------------------------------

-- Bytes as a member `name` where they are surely text, else as `encoded`.
local function put_bytes(t, bytes, name, encoded)
  if bytes:find("[\128-\255]") then
    t[encoded] = transport.to_base64(bytes)
  else
    t[name] = bytes
  end
end

local function envelope(message)
  if type(message) == "string" then message = { payload = message } end
  if type(message) ~= "table" or type(message.payload) ~= "string" then
    error("a message must be a string or a table with a string payload", 0)
  end
  local out = { headers = message.headers and object(message.headers), delay = message.delay, ttl = message.ttl }
  put_bytes(out, message.payload, "data", "base64")
  if message.key then put_bytes(out, message.key, "key", "key_base64") end
  return out
end

local function envelopes(what)
  local list = {}
  local one = type(what) == "string" or what.payload
  for i, message in ipairs(one and { what } or what) do list[i] = envelope(message) end
  return json.encode(list)
end

local function append(client, topic, body, headers, options)
  if options.expect then headers["If-Match"] = '"' .. options.expect .. '"' end
  headers["Lignum-Ack"] = options.ack
  return client:call("POST", path_of { topic, "messages" }, body, { headers = headers })
end

---Publishes a message, or a list of them as one batch, once, however often it has to be sent. Returns when the topic's
---policy is satisfied.
---@param topic string
---@param what string|table|(string|table)[]  a payload, { payload =, key =, headers =, delay =, ttl = }, or a list
---@param options? { id?: string, expect?: string, ack?: string }  id: its Idempotency-Key (a random one); expect:
---  append only if the log ends at this token; ack: "peers"
---@return table? receipt   topic, first, next, count, next_token, committed, and duplicate when it was there already
---@return string? message
---@return string? code
---@example log:publish("orders", { payload = "hello", key = "42" })
function Client:publish(topic, what, options)
  options = options or {}
  return append(self, topic, envelopes(what), { ["Idempotency-Key"] = options.id or random_id() }, options)
end

---@class lignum.Producer
local Producer = {}
Producer.__index = Producer

---A producer whose requests are stored once and in order. A higher epoch fences the lower ones of the same id.
---@param topic string
---@param id? string      up to 64 bytes; a random one by default
---@param epoch? integer  by default 0 with a random id, and the time in milliseconds with one that is given
---@return lignum.Producer
---@example local p = log:producer("orders"); p:publish("hello")
function Client:producer(topic, id, epoch)
  epoch = epoch or id and math.floor(transport.now() * 1000) or 0
  return setmetatable({ client = self, topic = topic, id = id or random_id(), epoch = epoch, seq = 0 }, Producer)
end

---Publishes a message, or a list as one batch. After a failure whose problem is `retryable` the batch is pending: call
---retry until it succeeds; nothing else can be published before that.
---@param what string|table|(string|table)[]
---@param options? { ack?: string }
---@return table? receipt
---@return string? message
---@return string? code
function Producer:publish(what, options)
  if self.pending then error("the last batch is pending: retry it first", 2) end
  self.pending = { body = envelopes(what), options = { ack = options and options.ack } }
  return self:retry()
end

---Sends the pending batch again. It is stored once, even if it was before; then the receipt has `duplicate`.
---@return table? receipt
---@return string? message
---@return string? code
function Producer:retry()
  if not self.pending then error("no batch is pending", 2) end
  local headers = {
    ["Producer-Id"] = self.id, ["Producer-Epoch"] = as_text(self.epoch), ["Producer-Seq"] = as_text(self.seq),
  }
  local receipt, why, code, problem = append(self.client, self.topic, self.pending.body, headers, self.pending.options)
  if receipt then
    self.pending, self.seq = nil, self.seq + 1
    return receipt
  end
  if not problem.retryable then self.pending = nil end    -- refused for good: its number is free
  return nil, why, code, problem
end

-- Read ---------------------------------------------------------------------------------------------------

local function bytes_of(text, encoded)
  return encoded and transport.from_base64(encoded) or text
end

local function messages_of(list)
  local messages = {}
  for i, m in ipairs(list) do
    messages[i] = {
      offset = m.offset, epoch = m.epoch, time = m.time, headers = m.headers or {}, lease = m.lease,
      delivery = m.delivery, key = bytes_of(m.key, m.key_base64), payload = bytes_of(m.data, m.base64) or "",
    }
  end
  return messages
end

---Reads a page.
---@param topic string
---@param range? { from?: integer|string, to?: integer|string, limit?: integer, bytes?: integer, wait?: number }
---@return table[]? messages  each with offset, epoch, time, key, headers, payload
---@return string next_token  the token from which to read on; or the message of the error
---@return integer|string next  its offset; or the code
---@return table? problem
---@example local messages, token = log:read("orders", { from = "-15m", limit = 10 })
function Client:read(topic, range)
  local answer, why, code, problem = self:call("GET", path_of({ topic, "messages" }, range), nil,
    { wait = range and range.wait })
  if not answer then return nil, why, code, problem end
  return messages_of(answer.messages), answer.next_token, answer.next
end

-- The epochs of the messages that a follower has seen, { epoch =, next = }, to find where its history and a node's
-- agree.
local function saw(turns, m)
  local last = turns[#turns]
  if last and last.epoch == m.epoch then
    last.next = m.offset + 1
  else
    turns[#turns + 1] = { epoch = m.epoch, next = m.offset + 1 }
    if #turns > KEPT_TURNS then table.remove(turns, 1) end
  end
end

-- Drops what the node does not have, which agrees with this at most up to there. Returns where to ask next.
local function cut(turns, epoch, offset)
  while #turns > 0 and turns[#turns].epoch > epoch do turns[#turns] = nil end
  local last = turns[#turns]
  if not last then return 0, offset end
  last.next = math.min(last.next, offset)
  return last.epoch, last.next
end

-- Where a follower goes on after a refusal; nil when it cannot.
local function place_after(self, problem)
  local options, turns = self.options, self.turns
  if problem.code == "log_truncated" and problem.offset then
    local epoch, offset = cut(turns, problem.epoch or 0, problem.offset)
    if options.on_truncated then options.on_truncated(offset) end
    return ("%.0f:%.0f%s"):format(epoch, offset, self.topic_id)
  elseif problem.code == "offset_gone" and problem.earliest then
    local asked = self.place:match("^%d+$") or self.place:match("^%d+:(%d+)")
    local from = #turns > 0 and turns[#turns].next or tonumber(asked) or 0
    if options.on_gap then options.on_gap(from, problem.earliest) end
    return ("%.0f"):format(problem.earliest)
  end
  return problem.retryable and self.place or nil
end

local function next_page(self)
  local list, token, code, problem = self.client:read(self.topic, { from = self.place, wait = self.options.wait or 20 })
  if list then
    if #list > 0 then self.place, self.topic_id = token, token:match("^%d+:%d+(.*)$") end
    return list
  end
  self.place = place_after(self, problem)
  if not self.place then error(("%s: %s (%s)"):format(self.topic, token, code), 0) end
  return {}
end

---Iterates over messages for ever, from node to node, without gaps or repetitions. When messages that it has given were
---truncated, as a WAL topic allows, it calls on_truncated(offset): forget what you have from there on; and goes on
---with what is there instead. When messages were removed before they were read, it calls on_gap(from, earliest). It
---ends when stop() is true, which is asked every `wait` seconds (20) and after each page. What a node refuses for good,
---such as an unknown topic, is raised as an error.
---@param topic string
---@param options? { from?: integer|string, wait?: number, on_truncated?: function, on_gap?: function, stop?: function }
---  from: "earliest" by default
---@return fun(): table? iterator
---@example for m in log:follow("orders", { from = "latest" }) do print(m.payload) end
function Client:follow(topic, options)
  options = options or {}
  local self_ = { client = self, topic = topic, options = options, turns = {}, topic_id = "" }
  self_.place = as_text(options.from or "earliest")
  local messages, at = {}, 0
  return function()
    if self_.place == "latest" then     -- what "latest" means is decided once, not by each attempt
      local list, token, code = self:read(topic, { from = "latest" })
      if not list then error(("%s: %s (%s)"):format(topic, token, code), 2) end
      self_.place = token
    end
    while at == #messages do
      if options.stop and options.stop() then return nil end
      messages, at = next_page(self_), 0
    end
    at = at + 1
    saw(self_.turns, messages[at])
    return messages[at]
  end
end

-- Groups -------------------------------------------------------------------------------------------------

---@class lignum.Group
local Group = {}
Group.__index = Group

---A consumer group of a topic: each message is leased to one consumer until it is settled.
---@param topic string
---@param name string
---@return lignum.Group
---@example local g = log:group("orders", "mails"); g:create { from = "earliest" }
function Client:group(topic, name)
  return setmetatable({ client = self, words = { topic, "groups", name } }, Group)
end

function Group:call(method, verb, body, wait)
  local words = { self.words[1], self.words[2], self.words[3], verb }
  return self.client:call(method, path_of(words), body and object(body), { wait = wait })
end

---Creates the group. One with these settings may be there already.
---@param settings? table
---@return table? group
function Group:create(settings) return self:call("PUT", nil, settings or {}) end

---@return table? group
function Group:info() return self:call("GET") end

---@return table? empty
function Group:delete() return self:call("DELETE") end

---The group goes on from there.
---@param to integer|string
---@return table? group
function Group:seek(to) return self:call("POST", "seek", { to = to }) end

---Leases messages; waits for the first. Those of an answer that is lost come again when their leases are over.
---@param options? { limit?: integer, wait?: number, consumer?: string, bytes?: integer }
---@return table[]? messages  each with `lease` and `delivery`
---@return string? message
---@return string? code
function Group:claim(options)
  local answer, why, code, problem = self:call("POST", "claim", options or {}, options and options.wait)
  if not answer then return nil, why, code, problem end
  return messages_of(answer.messages)
end

---@param what { ack?: string[], release?: (string|table)[], reject?: (string|table)[], extend?: table[] }  leases
---@return string[]? results  "ok" or "lease_lost" for each
function Group:settle(what)
  local answer, why, code, problem = self:call("POST", "settle", what)
  if not answer then return nil, why, code, problem end
  local results = {}
  for i, one in ipairs(answer.results) do results[i] = one.result end
  return results
end

-- Settles one message by `verb`, with a further member when there is one.
local function settle_one(self, verb, m, name, value)
  local one = value and { lease = m.lease, [name] = value } or m.lease
  local results, why, code, problem = self:settle { [verb] = { one } }
  if not results then return nil, why, code, problem end
  return results[1]
end

---It is done.
---@return string? result  "ok" or "lease_lost"
function Group:ack(m) return settle_one(self, "ack", m) end

---Deliver it again, after `delay` seconds or what the group's `retry` says.
---@return string? result
function Group:release(m, delay) return settle_one(self, "release", m, "delay", delay) end

---It is dead, and goes to the group's dead letters.
---@return string? result
function Group:reject(m, why) return settle_one(self, "reject", m, "why", why) end

---Its lease lasts that many seconds from now.
---@return string? result
function Group:extend(m, seconds) return settle_one(self, "extend", m, "seconds", seconds) end

---Calls fn(message) for each message: what it returns for is acknowledged, what it raises for is released. Goes on
---until stop() is true, which is asked before each claim, or a call fails.
---@param fn fun(m: table)
---@param options? { consumer?: string, limit?: integer, wait?: number, stop?: function, on_error?: function }
---@return boolean? done
---@return string? message
---@return string? code
function Group:work(fn, options)
  options = options or {}
  local claim = { consumer = options.consumer, limit = options.limit, wait = options.wait or 20 }
  while not (options.stop and options.stop()) do
    local messages, why, code = self:claim(claim)
    if not messages then return nil, why, code end
    for _, m in ipairs(messages) do
      local done, failure = pcall(fn, m)
      if not done and options.on_error then options.on_error(failure, m) end
      local settled
      if done then settled, why, code = self:ack(m) else settled, why, code = self:release(m) end
      if not settled then return nil, why, code end
    end
  end
  return true
end

return M
