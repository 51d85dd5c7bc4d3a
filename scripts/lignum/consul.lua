--- A small client of Consul's HTTP interface.
---
--- The shape of each answer is checked before it is used. Calls return `nil, message, code` when Consul is not
--- available or the outcome is unknown, and `false, message` when Consul has refused (with the code session_gone when
--- the session does not exist). With several addresses, a request that may be repeated is sent to the next address
--- when one fails; others leave that to the next call.
local core = require "lignum.core"

local base64, fetch, json = core.base64, core.fetch, core.json

local M = {}

local TIMEOUT <const> = 3            -- seconds for a request that does not wait for changes
local ANSWER_MAX <const> = 1 << 20
local INDEX_MAX <const> = core.limits.json_integer_max

---@class lignum.Consul
---@field settings table      cluster.consul of lignum.lua
---@field at integer          index of the address in use
---@field requests integer    sent so far
---@field problem string?     why the last request had no answer from any address
local Client = {}
Client.__index = Client

---@param settings table   cluster.consul of lignum.lua
---@return lignum.Consul
function M.new(settings)
  return setmetatable({ settings = settings, at = 1, requests = 0 }, Client)
end

-- Requests -------------------------------------------------------------------------------------

local function escape(text)
  return (text:gsub("[^%w._~/-]", function(c) return ("%%%02X"):format(c:byte()) end))
end

local function target(path, query)
  local parts = {}
  for name, value in pairs(query or {}) do
    parts[#parts + 1] = value == true and name or name .. "=" .. escape(tostring(value))
  end
  table.sort(parts)
  return escape(path) .. (#parts > 0 and "?" .. table.concat(parts, "&") or "")
end

local function send(self, method, path, o)
  local s, tls = self.settings, self.settings.tls
  self.requests = self.requests + 1
  return fetch {
    url = (tls.enabled and "https://" or "http://") .. s.address[self.at] .. target(path, o.query), method = method,
    headers = { ["X-Consul-Token"] = s.token, ["Content-Type"] = o.body and "application/json" or nil },
    body = o.body, timeout = o.timeout or TIMEOUT, max = ANSWER_MAX,
    ca = tls.ca, cert = tls.cert, key = tls.key, farewell = o.farewell,
  }
end

local function first_line(text)
  return text:match("^[^\r\n]*"):sub(1, 200):gsub("[^\32-\126]", "?") .. ""
end

-- Consul answers 500 both when it cannot answer and when a session does not exist.
local function is_refusal(answer)
  return answer.status < 500 or answer.body:find("invalid session", 1, true) ~= nil
end

---Sends a request; without an answer, to the next address.
---@param method string
---@param path string
---@param o { query?: table, body?: string, timeout?: number, farewell?: boolean, once?: boolean }
---@return { status: integer, headers: table, body: string }? answer
---@return string? why
---@return string? code
function Client:request(method, path, o)
  local count = #self.settings.address
  local answer, why, code
  for _ = 1, o.once and 1 or count do
    if self.at > count then self.at = 1 end     -- after a reload the list may be shorter
    answer, why, code = send(self, method, path, o)
    if answer and is_refusal(answer) then
      self.problem = nil
      return answer
    end
    if code == "stopping" then return nil, why, code end
    local whom = "Consul at " .. self.settings.address[self.at]
    self.at = self.at % count + 1
    why = answer and ("%s answers %d: %s"):format(whom, answer.status, first_line(answer.body)) or whom .. ": " .. why
  end
  self.problem = why
  return nil, why, "unavailable"
end

local function unexpected(answer, what)
  return nil, ("Consul answered %s with %d: %s"):format(what, answer.status, first_line(answer.body)), "bad_answer"
end

-- The decoded body if it has that Lua type, or nil.
local function decoded(answer, kind)
  local value = json.decode(answer.body)
  return type(value) == kind and value or nil
end

-- Checks an answer that must be `true` or `false`.
local function verdict(answer, what)
  local word = answer.status == 200 and answer.body:match("^%s*(%a+)%s*$")
  if word == "true" then return true end
  if word == "false" then return false, "Consul refused " .. what end
  if answer.body:find("invalid session", 1, true) then return false, "the session is gone", "session_gone" end
  return unexpected(answer, what)
end

-- Services -------------------------------------------------------------------------------------

---Registers a service with the agent. Its check starts as passing; otherwise no session could be made yet.
---@param service table   as in Consul's interface
---@return boolean? ok
---@return string? why
---@return string? code
function Client:register(service)
  local answer, why, code = self:request("PUT", "/v1/agent/service/register",
    { body = json.encode(service), query = { ["replace-existing-checks"] = true } })
  if not answer then return nil, why, code end
  if answer.status ~= 200 then return unexpected(answer, "the registration of the service") end
  return true
end

---@param id string
---@param o? { farewell?: boolean, timeout?: number }
function Client:deregister(id, o)
  o = o or {}
  local answer, why, code = self:request("PUT", "/v1/agent/service/deregister/" .. id,
    { farewell = o.farewell, timeout = o.timeout })
  if not answer then return nil, why, code end
  if answer.status ~= 200 and answer.status ~= 404 then return unexpected(answer, "the end of the service") end
  return true
end

---Whether a check of a service does not pass.
---@param id string
---@return boolean? failing   nil: not known
---@return string? why
---@return string? code
function Client:is_failing(id)
  local answer, why, code = self:request("GET", "/v1/health/checks/lignum", { query = { consistent = true } })
  if not answer then return nil, why, code end
  local list = answer.status == 200 and decoded(answer, "table")
  if not list then return unexpected(answer, "the checks of the services") end
  for _, check in ipairs(list) do
    if type(check) == "table" and check.ServiceID == id and check.Status ~= "passing" then return true end
  end
  return false
end

-- Sessions -------------------------------------------------------------------------------------

---Makes a session that ends when a check fails or when it is not renewed. The keys that it holds are deleted then.
---@param o { name: string, checks: string[], ttl: number, agent_check: boolean }
---@return string? id
---@return string? why
---@return string? code
function Client:create_session(o)
  local services = json.array {}
  for i, id in ipairs(o.checks) do services[i] = { ID = id } end
  local body = json.encode {
    Name = o.name, TTL = ("%gs"):format(o.ttl), LockDelay = "0s", Behavior = "delete", ServiceChecks = services,
    NodeChecks = json.array { o.agent_check and "serfHealth" or nil },
  }
  local answer, why, code = self:request("PUT", "/v1/session/create", { body = body, once = true })
  if not answer then return nil, why, code end
  local session = answer.status == 200 and decoded(answer, "table")
  local id = session and session.ID
  if type(id) ~= "string" or not id:find("^[%x-]+$") then return unexpected(answer, "a new session") end
  return id
end

---@param id string
---@return boolean? there   false: it is gone
---@return string? why
---@return string? code
function Client:renew_session(id)
  local answer, why, code = self:request("PUT", "/v1/session/renew/" .. id, {})
  if not answer then return nil, why, code end
  if answer.status == 404 then return false, "the session is gone" end
  local list = answer.status == 200 and decoded(answer, "table")
  local session = list and list[1]
  if type(session) ~= "table" or session.ID ~= id then return unexpected(answer, "the session's renewal") end
  return true
end

---@param id string
---@param o? { farewell?: boolean, timeout?: number }
---@return boolean? ok
---@return string? why
---@return string? code
function Client:destroy_session(id, o)
  o = o or {}
  local answer, why, code = self:request("PUT", "/v1/session/destroy/" .. id,
    { farewell = o.farewell, timeout = o.timeout })
  if not answer then return nil, why, code end
  return verdict(answer, "the end of a session")
end

-- Keys -----------------------------------------------------------------------------------------

---@class lignum.ConsulKey
---@field key string
---@field value string
---@field session string?
---@field index integer     its ModifyIndex

local function whole(value)
  local n = math.type(value) and math.tointeger(value)
  return n and n >= 0 and n <= INDEX_MAX and n or nil
end

local function key_of(item)
  if type(item) ~= "table" or type(item.Key) ~= "string" then return nil end
  local value = item.Value == json.null and "" or item.Value
  value = type(value) == "string" and base64.decode(value)
  local index = whole(item.ModifyIndex)
  if not value or not index then return nil end
  local session = type(item.Session) == "string" and item.Session or nil
  return { key = item.Key, value = value, index = index, session = session }
end

local function keys_of(answer)
  local list = decoded(answer, "table")
  if not list then return nil end
  local keys = {}
  for i, item in ipairs(list) do
    keys[i] = key_of(item)
    if not keys[i] then return nil end
  end
  return keys
end

local function index_of(answer)
  local text = answer.headers["x-consul-index"] or ""
  return text:find("^%d+$") and whole(tonumber(text)) or nil
end

---Reads a key, or all keys with that prefix. With an index it waits for a higher one, at most `wait` seconds. The index
---returned is 0 when Consul's has gone backwards.
---@param key string
---@param o { recurse?: boolean, index?: integer, wait?: number, farewell?: boolean, timeout?: number }
---@return { index: integer, keys: lignum.ConsulKey[] }? snapshot
---@return string? why
---@return string? code
function Client:read(key, o)
  local query = { recurse = o.recurse, consistent = true }
  local wait = o.index and o.index > 0 and o.wait or nil
  if wait then
    query.index = o.index
    query.wait = ("%dms"):format(math.max(1, wait * 1000 // 1))
  end
  local answer, why, code = self:request("GET", "/v1/kv/" .. key,
    { query = query, timeout = (o.timeout or TIMEOUT) + (wait or 0) * 1.1, farewell = o.farewell })
  if not answer then return nil, why, code end
  local index = index_of(answer)
  local keys = answer.status == 404 and {} or answer.status == 200 and keys_of(answer)
  if not keys or not index then return unexpected(answer, "a read of " .. key) end
  if o.index and index < o.index then index = 0 end
  return { index = index, keys = keys }
end

---Writes a key. With `session` only if no other session holds the key; then the session holds it. With `cas` only if
---that is the key's ModifyIndex (0: the key does not exist).
---@param key string
---@param value string
---@param o { session?: string, cas?: integer, release?: string, farewell?: boolean, timeout?: number }
---@return boolean? done
---@return string? why
---@return string? code
function Client:write(key, value, o)
  local answer, why, code = self:request("PUT", "/v1/kv/" .. key, {
    query = { acquire = o.session, cas = o.cas, release = o.release }, body = value, farewell = o.farewell,
    timeout = o.timeout, once = o.cas ~= nil,
  })
  if not answer then return nil, why, code end
  return verdict(answer, "a write of " .. key)
end

---@param key string
function Client:delete(key)
  local answer, why, code = self:request("DELETE", "/v1/kv/" .. key, {})
  if not answer then return nil, why, code end
  return verdict(answer, "to delete " .. key)
end

-- The ModifyIndex of each key in the answer to a transaction; nil when the answer is not as expected.
local function indexes_of(answer, count)
  local results = decoded(answer, "table")
  results = results and results.Results
  if type(results) ~= "table" or #results ~= count then return nil end
  local indexes = {}
  for i = 1, count do
    local item = type(results[i]) == "table" and results[i].KV
    indexes[i] = type(item) == "table" and whole(item.ModifyIndex) or nil
    if not indexes[i] then return nil end
  end
  return indexes
end

local function refusals_of(answer)
  local body = decoded(answer, "table")
  local said = {}
  for _, e in ipairs(body and type(body.Errors) == "table" and body.Errors or {}) do
    said[#said + 1] = type(e) == "table" and type(e.What) == "string" and first_line(e.What) or nil
  end
  return #said > 0 and table.concat(said, "; ") or nil
end

---Executes all operations or none.
---@param operations table[]   { verb = "lock"|"cas"|"check-session", key =, value =, session =, index = }
---@return integer[]|false|nil indexes   the ModifyIndex of each key; false: nothing was done; nil: unknown
---@return string? why
---@return string? code
function Client:txn(operations)
  local list = json.array {}
  for i, o in ipairs(operations) do
    list[i] = { KV = {
      Verb = o.verb, Key = o.key, Value = o.value and base64.encode(o.value), Session = o.session, Index = o.index,
    } }
  end
  local answer, why, code = self:request("PUT", "/v1/txn", { body = json.encode(list), once = true })
  if not answer then return nil, why, code end
  if answer.status == 409 then
    why = refusals_of(answer)
    if why then return false, why end
  end
  local indexes = answer.status == 200 and indexes_of(answer, #operations)
  if not indexes then return unexpected(answer, "a transaction") end
  return indexes
end

return M
