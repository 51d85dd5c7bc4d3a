--- This node at Consul: its service with a health check, its session, and its key below <key>/nodes/.
local core = require "lignum.core"
local roster = require "lignum.roster"
local view = require "lignum.view"

local json = core.json

local M = {}

local FORGOTTEN <const> = "24h"      -- after which Consul removes the service of a node that does not come back
local FAREWELL <const> = 1           -- seconds for each request at shutdown
local ATTEMPTS <const> = 20          -- to make a session: Consul's servers learn of a new health check with a delay
local PAUSE <const> = 0.025          -- seconds between two of them

---@class lignum.Member
---@field consul lignum.Consul
---@field key string          of the lock
---@field settings table      cluster.consul of lignum.lua
---@field me table            cluster.status().self
---@field session string?
---@field check string?       the id of this process's health check
---@field own table<string, true>   all sessions that this process has had
---@field published string?   the value of this node's key
---@field refused string?     session of the lock's holder, when its port refuses this node
---@field silent string?      session of the lock's holder, when this node does not hear it any more
---@field unreached string[]? sessions of members that this node could not reach when it tried last
local Member = {}
Member.__index = Member

---@param consul lignum.Consul
---@param settings table
---@param me { member: string, name: string, http: string, replication: string }
---@return lignum.Member
function M.new(consul, settings, me)
  return setmetatable({ consul = consul, key = settings.key, settings = settings, me = me, own = {} }, Member)
end

local function service_id(node)
  return ("lignum:%s:%s"):format(node.name, node.member:match(":(%x+)$"):sub(1, 8))
end

function Member:check_of(id, name, method, failures)
  return {
    CheckID = id, Name = name, Method = method, HTTP = roster.url(self.me.http) .. "/healthz",
    TLSSkipVerify = true,     -- it tells Consul nothing but that the node lives, and trusts it with nothing
    Interval = ("%dms"):format(self.settings.check_interval * 1000 // 1),
    Timeout = ("%dms"):format(self.settings.check_timeout * 1000 // 1), Status = "passing",
    FailuresBeforeCritical = failures,
  }
end

-- The service's id belongs to the node (name and data directory), so that its next process takes over the registration
-- and no other node of the same name does. The check's id belongs to the process: an agent keeps the state of a check
-- that it knows, and Consul makes no session with a failing check. The session depends on the first check only; of a
-- failure of the second one the other nodes read (is_failing).
function Member:service()
  local host, port = roster.url(self.me.http):match("//%[?([^%]]-)%]?:(%d+)$")
  local id = service_id(self.me)
  self.check = self.check or ("%s:%d"):format(id, core.now() * 1000 // 1)
  local failures = self.settings.check_failures
  local checks = json.array { self:check_of(self.check, "Lignum answers", "GET", failures) }
  checks[1].DeregisterCriticalServiceAfter = FORGOTTEN
  if failures > 1 then
    checks[2] = self:check_of(self.check .. ":early", "Lignum answers, told early", "HEAD", (failures + 1) // 2)
  end
  return id, {
    ID = id, Name = "lignum", Address = host, Port = math.tointeger(tonumber(port)), Checks = checks,
  }
end

-- The sessions of earlier processes of this node. An entry with this node's addresses belongs to one: this process
-- listens there now, so the other is gone. An equal data directory proves nothing, because it may be a copy.
function Member:leftovers(seen)
  local me, sessions = self.me, {}
  local function look(entry, session)
    local same = entry and entry.name == me.name and entry.http == me.http and entry.replication == me.replication
    if same and session and session ~= self.session then sessions[session] = true end
  end
  look(seen.lock.holder, seen.lock.session)
  local entry = seen.nodes[me.name]
  look(entry, entry and entry.session)
  return sessions
end

-- Describes another running node with this node's name, if there is one. Registering would replace that node's health
-- check, and thereby end its session.
function Member:namesake(seen, leftovers)
  local entry = seen.nodes[self.me.name]
  if not entry or leftovers[entry.session] then return nil end
  local where = "it is at " .. entry.http
  if entry.member ~= self.me.member then return where end
  return where .. ", and one of the two has a copy of the other's data directory: a copy must never run"
end

function Member:new_session(check)
  local id, why, code
  for _ = 1, ATTEMPTS do
    id, why, code = self.consul:create_session {
      name = "lignum:" .. self.me.name, checks = { check }, ttl = self.settings.ttl,
      agent_check = self.settings.agent_check,
    }
    if id or not why:find("[Cc]heck") then break end   -- Consul says only in words that it does not know the check
    core.sleep(PAUSE)
  end
  if not id and why:find("critical", 1, true) then
    why = "Consul's agent does not reach this node at %s/healthz (node.advertise), so it makes no session"
    return nil, why:format(roster.url(self.me.http)), "not_reached"
  end
  return id, why, code
end

---Registers the node and makes a session, unless it has one. Ends sessions of earlier processes of this node first.
---@return boolean? ok      false: another node has the name
---@return string? why
---@return string? code
function Member:arrive()
  if self.session then return true end
  local snapshot, why, code = self.consul:read(self.key, { recurse = true })
  if not snapshot then return nil, why, code end
  local seen = view.of(snapshot.keys, self.key)
  local leftovers = self:leftovers(seen)
  local namesake = self:namesake(seen, leftovers)
  if namesake then return false, namesake end
  for session in pairs(leftovers) do
    local whose = self.own[session] and "this process" or "an earlier process of this node"
    core.say.info(("cluster: ends the session of %s session=%s"):format(whose, session))
    self.consul:destroy_session(session)
  end
  local _, service = self:service()
  local ok
  ok, why, code = self.consul:register(service)
  if not ok then return nil, why, code end
  local session
  session, why, code = self:new_session(self.check)
  if not session then return nil, why, code end
  self.session, self.published, self.own[session] = session, nil, true
  core.say.debug("cluster: has a session at Consul id=" .. session)
  return true
end

---Renews the session. Forgets it when it is gone.
---@return boolean? there   false: it is gone
---@return string? why
---@return string? code
function Member:renew()
  local session = self.session
  if not session then return false end
  local there, why, code = self.consul:renew_session(session)
  if there == false and self.session == session then self.session = nil end
  return there, why, code
end

---The entry that this node publishes to the other nodes.
---@param status table   cluster.status()
---@param more? { eligible: boolean, vacancy: integer }
---@return lignum.Entry
function Member:entry(status, more)
  local me = self.me
  return {
    member = me.member, name = me.name, http = me.http, replication = me.replication, role = status.role,
    position = status.position, eligible = more and more.eligible or false, vacancy = more and more.vacancy or 0,
    refused = not status.connected and self.refused or nil, silent = self.silent, unreached = self.unreached,
    full = status.full or nil, config = roster.fingerprint,
  }
end

---Whether Consul has found that a node does not answer, maybe not often enough yet to end its session.
---@param node lignum.Entry
---@return boolean? failing   nil: not known
function Member:is_failing(node)
  return self.consul:is_failing(service_id(node))
end

---Writes this node's key, if its value has changed.
---@param entry lignum.Entry
---@return boolean? ok      false: another node has the name, or (session_gone) the session is gone
---@return string? why
---@return string? code
function Member:publish(entry)
  local value = view.entry_text(entry)
  if value == self.published then return true end
  local key = self.key .. "/nodes/" .. self.me.name
  local ok, why, code = self.consul:write(key, value, { session = self.session })
  if ok then
    self.published = value
  elseif code == "session_gone" then
    self.session = nil
  end
  return ok, why, code
end

---The value of the lock while this node holds it.
---@return string
function Member:lock_value()
  return view.entry_text(self.me)
end

---Ends the session, which releases all keys that it holds, and deregisters the service. These requests are sent even
---while the broker shuts down.
function Member:leave()
  local o = { farewell = true, timeout = FAREWELL }
  local session = self.session
  self.session = nil
  if session then self.consul:destroy_session(session, o) end
  local id = self:service()
  return self.consul:deregister(id, o)
end

return M
