--- Forwards a write that reaches a follower to the leader, and relays the leader's answer.
---
--- A request is repeated when it provably had no effect: no connection could be made, or the answer says that nothing
--- was done. When the connection breaks after the request is sent, or the leader stops leading before it has answered,
--- the outcome is unknown. Then a publish with a Producer-Id or an Idempotency-Key is repeated as well, for the time
--- that a leader has to answer: if it was appended, the repetition is a duplicate.
local config = require "lignum.config"
local core = require "lignum.core"
local next_leader = require "lignum.leader"
local publish = require "lignum.publish"
local roster = require "lignum.roster"

local follows = core.cluster.follows

local M = {}

local PATIENCE <const>, PAUSE <const>, ANSWER <const> = next_leader.PATIENCE, next_leader.PAUSE, next_leader.ANSWER
local GUARD <const> = "Lignum-Forwarded"

-- The headers that are forwarded, and those of its answer that are relayed: what decides how a request is served, and
-- what an `authorize` hook on the leader may ask for. Further ones concern a connection, or this node's own answers.
local FORWARDED = {
  accept = true, authorization = true, ["content-encoding"] = true, ["content-type"] = true, cookie = true,
  ["idempotency-key"] = true, ["if-match"] = true, ["lignum-ack"] = true, ["lignum-key"] = true,
  ["lignum-delay"] = true, ["lignum-deliver-at"] = true, ["lignum-ttl"] = true,
  traceparent = true, tracestate = true, ["user-agent"] = true,
}
local FORWARDED_PREFIXES = { "^lignum%-header%-", "^producer%-", "^stream%-", "^x%-" }
local RELAYED_PREFIXES = { "^lignum%-", "^producer%-", "^stream%-" }
local RELAYED = {
  allow = true, ["cache-control"] = true, ["content-type"] = true, ["cross-origin-resource-policy"] = true, etag = true,
  location = true, ["retry-after"] = true, ["www-authenticate"] = true, ["x-content-type-options"] = true,
}
-- Errors after which the leader may have received the request. With "stopping", this node shuts down.
local BROKEN = { fetch_failed = true, timeout = true, too_large = true, stopping = true }
-- Codes of a leader that has done nothing with a request which another leader may accept.
local PASSING = { not_leader = true, no_leader = true, stopping = true }

local function is_listed(name, names, prefixes)
  if names[name] then return true end
  for _, prefix in ipairs(prefixes) do
    if name:find(prefix) then return true end
  end
  return false
end

---Whether a header goes to the leader with its request.
---@param name string   in lower case
---@return boolean
function M.forwards(name)
  return is_listed(name, FORWARDED, FORWARDED_PREFIXES)
end

-- `secret`: nobody on the way reads them.
local function headers_of(req, secret)
  local headers = { [GUARD] = roster.status().self.name }
  for name, value in pairs(req.headers) do
    if M.forwards(name) then headers[name] = value end
  end
  headers["lignum-user"] = secret and req:vouch() or nil
  headers["x-forwarded-host"] = headers["x-forwarded-host"] or req:header("host")
  return headers
end

-- The headers of an answer to relay, with names in the usual spelling.
local function relayed(headers)
  local kept = {}
  for name, value in pairs(headers) do
    if is_listed(name, RELAYED, RELAYED_PREFIXES) then kept[(name:gsub("%f[%a]%a", string.upper))] = value end
  end
  return kept
end

local function problem_of(answer)
  local problem = core.json.decode(answer.body)
  return type(problem) == "table" and problem or {}
end

-- Whether the answer says that nothing was done, and another leader may accept the request.
local function is_passing(answer)
  if answer.status ~= 503 then return false end
  local problem = problem_of(answer)
  return PASSING[problem.code] == true and problem.appended ~= true
end

local function is_unknown(status, problem)
  return status == 504 and type(problem) == "table" and problem.code == "unknown_outcome"
end

---Whether a repetition of a publish is a duplicate: the `repeats` of M.write.
---@param req lignum.Request
---@return boolean
function M.is_idempotent(req)
  return req:header("idempotency-key") ~= nil or req:header("producer-id") ~= nil
end

-- Sends the request once. Without an answer the verdict is "again" (it may be repeated), "unknown" (it may have been
-- executed) or the code of an error that a repetition does not change.
---@return table? answer
---@return "again"|"unknown"|string verdict
---@return string? why
local function attempt(req, leader, seconds)
  local url = roster.url(leader.forward)
  local answer, why, code, unsent = core.fetch {
    url = url .. req.target, method = req.method, headers = headers_of(req, url:find("^https:") ~= nil),
    body = req.body, timeout = seconds, fresh = true, leader = true,
    ca = config.get("cluster.forward.ca"), cert = config.get("cluster.forward.cert"),
    key = config.get("cluster.forward.key"),
  }
  if not answer then
    why = ("the connection to the leader, %s, broke before it answered: %s"):format(leader.name, why)
    return nil, unsent and "again" or BROKEN[code] and "unknown" or code, why
  end
  if is_passing(answer) then return nil, "again", "the leader is changing" end
  return answer, "done"
end

local function no_leader(status, why)
  if status.regressed then
    return publish.fail("set_regressed", "Consul went back to an older state than this node has seen")
  end
  return publish.fail("no_leader", why or "there is no leader")
end

-- How a request ends: with the outcome of its last attempt, unless an earlier one, of which `lost` says why it had no
-- answer, may have been executed and this one has not.
local function ends(lost, status, body, headers)
  if lost and status >= 300 then return publish.fail("unknown_outcome", lost) end
  return status, body, headers
end

---Sends a request to the leader; waits for a leader if there is none.
---@param req lignum.Request
---@param fn fun(req: lignum.Request): integer, any, table?   the handler, called if this node becomes the leader
---@param wait? number|"redirect"   seconds that the leader may take longer than for a write; or the client goes there
---@param repeats? boolean          it may be repeated although it may have been executed
---@param lost? string              it may have been executed here: why that is unknown
---@return integer status
---@return any body
---@return table? headers
function M.to_leader(req, fn, wait, repeats, lost)
  if req:header(GUARD) then
    return publish.fail("not_leader", "another node forwarded this request here, and this node does not lead")
  end
  local began, why = core.time.clock(), nil
  local deadline = began + (lost and ANSWER or PATIENCE)
  while true do
    local status = roster.status()
    local leader = status.leader
    if status.role == "leader" then return ends(lost, fn(req)) end
    local known = leader and leader.forward     -- by the leader's own word: credentials go to no other address
    if known and (wait == "redirect" or req:header("lignum-forward") == "never") then
      return 307, nil, { Location = roster.url(known) .. req.target }
    end
    if leader and not known then why = "the leader, " .. leader.name .. ", has not been reached yet" end
    if known then
      local seconds = lost and math.max(PAUSE, deadline - core.time.clock()) or ANSWER + (wait or 0)
      local answer, verdict
      answer, verdict, why = attempt(req, leader, seconds)
      if answer and repeats and is_unknown(answer.status, problem_of(answer)) then
        answer, verdict, why = nil, "unknown", problem_of(answer).detail
      end
      if answer then
        return ends(lost, answer.status, answer.status ~= 204 and answer.body or nil, relayed(answer.headers))
      end
      if verdict == "unknown" then
        lost = lost or why
        if not repeats then return publish.fail("unknown_outcome", lost) end
        deadline = began + ANSWER
      elseif verdict ~= "again" then
        return ends(lost, publish.fail(verdict, why))
      end
    end
    if not next_leader.wait_for_change(leader, deadline) then return ends(lost, no_leader(status, why)) end
  end
end

---Wraps a handler of writes so that it also works on a node that does not lead.
---@param fn fun(req: lignum.Request): integer, any, table?
---@param wait_of? fun(req: lignum.Request): number|"redirect"   as M.to_leader's `wait`
---@param repeats_of? fun(req: lignum.Request): boolean           as its `repeats`
---@param asks_itself? boolean   on a node that follows fn fails with not_leader before it does anything
---@return fun(req: lignum.Request): integer, any, table?
function M.write(fn, wait_of, repeats_of, asks_itself)
  local function to_leader(req, lost)
    return M.to_leader(req, fn, wait_of and wait_of(req), repeats_of and repeats_of(req), lost)
  end
  return function(req)
    if not asks_itself and follows() then return to_leader(req) end
    local status, body, headers = fn(req)
    if status == 503 and type(body) == "table" and body.code == "not_leader" then return to_leader(req) end
    if status == 504 and is_unknown(status, body) and repeats_of and repeats_of(req) and follows() then
      return to_leader(req, body.detail)
    end
    return status, body, headers
  end
end

return M
