--- A write that reaches a follower goes on to the leader, and the leader's answer comes back.
---
--- A request is sent again only when it was provably not accepted: nobody could be reached, or the answer says that
--- nothing was done. A connection that breaks once the request is out is an unknown outcome, and so is a leader that
--- leads no longer before it has answered.
local core = require "lignum.core"
local publish = require "lignum.publish"
local roster = require "lignum.roster"

local cluster = core.cluster

local M = {}

local PATIENCE <const> = 2         -- seconds for a leader to appear, or to change
local PAUSE <const> = 0.02         -- between two attempts, unless the cluster changes earlier
local ANSWER <const> = 10          -- seconds for the leader's answer
local GUARD <const> = "Lignum-Forwarded"

-- What belongs to one connection and not to the message. All else goes on: whatever authorize goes by at the leader.
local HOPS = {
  ["content-length"] = true, ["transfer-encoding"] = true, connection = true, ["keep-alive"] = true, te = true,
  trailer = true, upgrade = true, ["proxy-connection"] = true,
}
local NOT_SENT = { host = true, expect = true, ["lignum-forward"] = true, ["lignum-forwarded"] = true }
local NOT_RELAYED = { date = true, server = true }
-- How a request ends that may have arrived. "stopping": this node is.
local BROKEN = { fetch_failed = true, timeout = true, too_large = true, stopping = true }
-- Refusals that another leader would not repeat.
local PASSING = { not_leader = true, no_leader = true, stopping = true }

local function headers_of(req)
  local headers = { [GUARD] = roster.status().self.name }
  for name, value in pairs(req.headers) do
    if not HOPS[name] and not NOT_SENT[name] then headers[name] = value end
  end
  return headers
end

-- Names as they are usually written.
local function relayed(headers)
  local kept = {}
  for name, value in pairs(headers) do
    if not HOPS[name] and not NOT_RELAYED[name] then kept[(name:gsub("%f[%a]%a", string.upper))] = value end
  end
  return kept
end

-- Whether the answer says that nothing was done, and that another leader may do it.
local function is_passing(answer)
  if answer.status ~= 503 then return false end
  local problem = core.json.decode(answer.body)
  return type(problem) == "table" and PASSING[problem.code] == true and problem.appended ~= true
end

-- One attempt: an answer; or nothing, and whether the request may be sent again.
---@return table? answer
---@return "again"|"unknown"|string verdict   or the code of what keeps it from being sent
---@return string? why
local function attempt(req, leader)
  local answer, why, code, unsent = core.fetch {
    url = ("http://%s%s"):format(leader.http, req.target), method = req.method, headers = headers_of(req),
    body = req.body, timeout = ANSWER, fresh = true, leader = true,
  }
  if not answer then return nil, unsent and "again" or BROKEN[code] and "unknown" or code, why end
  if is_passing(answer) then return nil, "again", "the leader has just changed" end
  return answer, "done"
end

local function no_leader(status, why)
  if status.regressed then
    return publish.fail("set_regressed", "Consul has gone back to an older state than this node has seen")
  end
  return publish.fail("no_leader", why or "there is no leader at the moment")
end

local function relay(answer)
  return answer.status, answer.status ~= 204 and answer.body or nil, relayed(answer.headers)
end

local function unknown(leader, why)
  return publish.fail("unknown_outcome", ("the connection to the leader, %s, broke before it answered: %s"):format(
    leader.name, why))
end

-- Waits for the cluster to change; false when the time is over.
local function wait(until_then, most)
  local left = until_then - core.time.clock()
  if left <= 0 then return false end
  local _, _, code = cluster.wait(math.min(left, most))
  return code ~= "stopping"
end

-- Whether there is one that has not been tried yet, perhaps after a wait.
local function has_changed(leader, until_then)
  local now = leader and roster.status().leader
  if now and now.member ~= leader.member then return true end
  return wait(until_then, leader and PAUSE or PATIENCE)
end

---Sends a request to the leader, whoever that is by then.
---@param req lignum.Request
---@param fn fun(req: lignum.Request): integer, any, table?   the handler: this node may lead by then
---@return integer status
---@return any body
---@return table? headers
function M.to_leader(req, fn)
  if req:header(GUARD) then
    return publish.fail("not_leader", "another node took this one for the leader, and it is not")
  end
  local until_then, why = core.time.clock() + PATIENCE, nil
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
      if answer then return relay(answer) end
      if verdict == "unknown" then return unknown(leader, why) end
      if verdict ~= "again" then return publish.fail(verdict, why) end
    end
    if not has_changed(leader, until_then) then return no_leader(status, why) end
  end
end

local function is_not_leader(body)
  return type(body) == "table" and body.code == "not_leader"
end

---A handler of writes that also works where this node does not lead.
---@param fn fun(req: lignum.Request): integer, any, table?
---@return fun(req: lignum.Request): integer, any, table?
function M.write(fn)
  return function(req)
    if roster.role == "follower" then return M.to_leader(req, fn) end
    local status, body, headers = fn(req)
    if status == 503 and is_not_leader(body) then return M.to_leader(req, fn) end
    return status, body, headers
  end
end

return M
