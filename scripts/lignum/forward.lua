--- Forwards a write that reaches a follower to the leader, and relays the leader's answer.
---
--- A request is repeated only when it provably had no effect: no connection could be made, or the answer says that
--- nothing was done. When the connection breaks after the request is sent, or the leader stops leading before it has
--- answered, the outcome is unknown.
local core = require "lignum.core"
local publish = require "lignum.publish"
local roster = require "lignum.roster"

local cluster = core.cluster

local M = {}

local PATIENCE <const> = 2         -- seconds in which a leader may appear, or change
local PAUSE <const> = 0.02         -- seconds between two attempts, unless the cluster changes earlier
local ANSWER <const> = 10          -- seconds to wait for the leader's answer
local GUARD <const> = "Lignum-Forwarded"

-- Headers of one connection. All others are forwarded, so that `authorize` on the leader sees what it needs.
local HOPS = {
  ["content-length"] = true, ["transfer-encoding"] = true, connection = true, ["keep-alive"] = true, te = true,
  trailer = true, upgrade = true, ["proxy-connection"] = true,
}
local NOT_SENT = { host = true, expect = true, ["lignum-forward"] = true, ["lignum-forwarded"] = true }
local NOT_RELAYED = { date = true, server = true }
-- Errors after which the leader may have received the request. With "stopping", this node shuts down.
local BROKEN = { fetch_failed = true, timeout = true, too_large = true, stopping = true }
-- Codes of a leader that has done nothing with a request which another leader may accept.
local PASSING = { not_leader = true, no_leader = true, stopping = true }

local function headers_of(req)
  local headers = { [GUARD] = roster.status().self.name }
  for name, value in pairs(req.headers) do
    if not HOPS[name] and not NOT_SENT[name] then headers[name] = value end
  end
  return headers
end

-- The headers of an answer to relay, with names in the usual spelling.
local function relayed(headers)
  local kept = {}
  for name, value in pairs(headers) do
    if not HOPS[name] and not NOT_RELAYED[name] then kept[(name:gsub("%f[%a]%a", string.upper))] = value end
  end
  return kept
end

-- Whether the answer says that nothing was done, and another leader may accept the request.
local function is_passing(answer)
  if answer.status ~= 503 then return false end
  local problem = core.json.decode(answer.body)
  return type(problem) == "table" and PASSING[problem.code] == true and problem.appended ~= true
end

-- Sends the request once. Without an answer the verdict is "again" (it may be repeated), "unknown" (it may have been
-- executed) or the code of an error that a repetition does not change.
---@return table? answer
---@return "again"|"unknown"|string verdict
---@return string? why
local function attempt(req, leader)
  local answer, why, code, unsent = core.fetch {
    url = ("http://%s%s"):format(leader.http, req.target), method = req.method, headers = headers_of(req),
    body = req.body, timeout = ANSWER, fresh = true, leader = true,
  }
  if not answer then return nil, unsent and "again" or BROKEN[code] and "unknown" or code, why end
  if is_passing(answer) then return nil, "again", "the leader is changing" end
  return answer, "done"
end

local function no_leader(status, why)
  if status.regressed then
    return publish.fail("set_regressed", "Consul went back to an older state than this node has seen")
  end
  return publish.fail("no_leader", why or "there is no leader")
end

-- Waits until another attempt makes sense: there is another leader, the cluster has changed, or PAUSE has passed. False
-- at the deadline and at shutdown.
local function wait_for_change(leader, deadline)
  local now = leader and roster.status().leader
  if now and now.member ~= leader.member then return true end
  local left = deadline - core.time.clock()
  if left <= 0 then return false end
  local _, _, code = cluster.wait(math.min(left, leader and PAUSE or PATIENCE))
  return code ~= "stopping"
end

---Sends a request to the leader; waits for a leader if there is none.
---@param req lignum.Request
---@param fn fun(req: lignum.Request): integer, any, table?   the handler, called if this node becomes the leader
---@return integer status
---@return any body
---@return table? headers
function M.to_leader(req, fn)
  if req:header(GUARD) then
    return publish.fail("not_leader", "another node forwarded this request here, and this node does not lead")
  end
  local deadline, why = core.time.clock() + PATIENCE, nil
  while true do
    local status = roster.status()
    local leader = status.leader
    if status.role == "leader" then return fn(req) end
    if leader and req:header("lignum-forward") == "never" then
      return 307, nil, { Location = ("http://%s%s"):format(leader.http, req.target) }
    end
    if leader then
      local answer, verdict
      answer, verdict, why = attempt(req, leader)
      if answer then return answer.status, answer.status ~= 204 and answer.body or nil, relayed(answer.headers) end
      if verdict == "unknown" then
        return publish.fail("unknown_outcome",
          ("the connection to the leader, %s, broke before it answered: %s"):format(leader.name, why))
      end
      if verdict ~= "again" then return publish.fail(verdict, why) end
    end
    if not wait_for_change(leader, deadline) then return no_leader(status, why) end
  end
end

---Wraps a handler of writes so that it also works on a node that does not lead.
---@param fn fun(req: lignum.Request): integer, any, table?
---@return fun(req: lignum.Request): integer, any, table?
function M.write(fn)
  return function(req)
    if roster.role == "follower" then return M.to_leader(req, fn) end
    local status, body, headers = fn(req)
    if status == 503 and type(body) == "table" and body.code == "not_leader" then return M.to_leader(req, fn) end
    return status, body, headers
  end
end

return M
