--- What scripts of a node that follows have its leader do: appends, and changes of topics, groups and tokens.
---
--- The two nodes have a connection, which the cluster's secret protects; a call goes over that (doc/wire.md, "Calls").
--- So the leader asks for no token, nor `authorize`: the follower has let in whoever its scripts work for, and the
--- follower's on_publish has seen the messages. Without an answer, the call may have been done. Then it is repeated if
--- a repetition has no effect, which is for the caller to know; else the outcome is unknown.
local core = require "lignum.core"
local pack = require "lignum.pack"
local roster = require "lignum.roster"

local cluster, clock = core.cluster, core.time.clock

local M = {
  PATIENCE = 2,            -- seconds in which a leader may appear, or change
  PAUSE = 0.02,            -- seconds between two attempts, unless the cluster changes earlier
  ANSWER = 10,             -- seconds to wait for the leader's answer
}

-- Codes of a leader that has done nothing, where another leader may do it.
local PASSING <const> = { not_leader = true, no_leader = true, stopping = true }

local verbs = {}           -- [name] = the function that does it on the leader

---Defines what a call does.
---@param verb string
---@param fn function   returns nil, message, code where it fails
function M.serve(verb, fn)
  verbs[verb] = fn
end

---The leader's side: does what a call says.
---@param what string
---@return string answer
function M.called(what)
  local call = pack.read(what)
  local fn = verbs[call[1]]
  if not fn then error("this node does not know the call " .. tostring(call[1]), 0) end
  return pack.write(table.pack(fn(table.unpack(call, 2, call.n))))
end

---Waits until another attempt makes sense: there is another leader, the cluster has changed, or PAUSE has passed. False
---at the deadline and at shutdown.
---@param leader table?      that of the last attempt
---@param deadline number
---@return boolean
function M.wait_for_change(leader, deadline)
  local now = leader and roster.status().leader
  if now and now.member ~= leader.member then return true end
  local left = deadline - clock()
  if left <= 0 then return false end
  local _, _, code = cluster.wait(math.min(left, leader and M.PAUSE or M.PATIENCE))
  return code ~= "stopping"
end

-- Sends the call once. The verdict is "done" with its results, "again" (nothing was done, and another attempt makes
-- sense), "lost" (it may have been done) with the reason, "failed" with the reason and its code, or "raised" with the
-- error of a call that failed before it did anything.
local function attempt(what, seconds)
  local answer, why, code, unsent = cluster.ask(what, seconds)
  if answer then
    local done = pack.read(answer)
    if done[1] ~= nil then return "done", done end
    if PASSING[done[3]] then return "again", done[2] end
    if done[3] == "unknown_outcome" then return "lost", done[2] end
    return "done", done
  end
  if code == "script_error" then return "raised", why end
  if code == "no_leader" then return "again", why end
  if unsent or code == "too_many_requests" then return "failed", why, code end
  return "lost", "the connection to the leader broke before it answered: " .. why, code
end

-- Calls until there is an outcome, or the time is over.
local function call(verb, how, args)
  local what = pack.write(table.pack(verb, table.unpack(args, 1, args.n)))
  local began, lost, why = clock(), nil, "there is no leader"
  local most = how.seconds or M.ANSWER
  local deadline = began + math.min(M.PATIENCE, most)
  while true do
    local status, verdict, result, code = roster.status(), nil, nil, nil
    if status.role == "follower" then
      if status.leader then verdict, result, code = attempt(what, math.max(M.PAUSE, began + most - clock())) end
    else
      result = table.pack(verbs[verb](table.unpack(args, 1, args.n)))
      verdict = (result[1] ~= nil or not PASSING[result[3]]) and "done" or nil
    end
    if verdict == "done" then
      if lost and result[1] == nil then return { nil, lost, "unknown_outcome", n = 3 } end
      return result
    end
    if verdict == "raised" and not lost then error(result, 0) end
    if verdict == "failed" or verdict == "raised" then
      return { nil, lost or result, lost and "unknown_outcome" or code, n = 3 }
    end
    if verdict == "lost" then
      lost, deadline = result, began + most
      if not how.repeats or code == "stopping" or code == "cancelled" then deadline = began end
    end
    why = verdict == "again" and result or why
    if not M.wait_for_change(status.leader, deadline) then
      return { nil, lost or why, lost and "unknown_outcome" or "no_leader", n = 3 }
    end
  end
end

---Does something on the node that leads, wherever this is called; waits a little for a leader if there is none.
---@param verb string
---@param how { seconds?: number, repeats?: boolean, shows?: string }   seconds: that it may take; repeats: it may be
---repeated although it may have been done; shows: the topic that has to be as new here as on the leader afterwards
---@param ... any       for the verb's function, which is called with copies on the leader
---@return any ...      what that returned, or nil, message, code
function M.call(verb, how, ...)
  if not cluster.follows() then
    local done = table.pack(verbs[verb](...))
    if done[1] ~= nil or done[3] ~= "not_leader" then return table.unpack(done, 1, done.n) end
  end
  local done = call(verb, how, table.pack(...))
  if how.shows and done[1] ~= nil then core.topic(how.shows):barrier(M.PATIENCE) end
  return table.unpack(done, 1, done.n)
end

return M
