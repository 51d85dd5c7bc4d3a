local check = require "check"
local core = require "lignum.core"
local function test(name, fn) check.test(print, name, fn) end

-- A follower whose connection to the leader answers as `answers` says, one call after another.
local function following(answers, fn)
  local _, own = check.draft ""
  local leader, roster = own("lignum.leader"), own("lignum.roster")
  local ask, follows, status, wait = core.cluster.ask, core.cluster.follows, roster.status, core.cluster.wait
  local n = 0
  core.cluster.ask = function() n = n + 1 return table.unpack(answers[n], 1, 3) end
  core.cluster.follows = function() return true end
  core.cluster.wait = function() return true end
  roster.status = function() return { role = "follower", leader = { member = "m" } } end
  local _ <close> = setmetatable({}, { __close = function()
    core.cluster.ask, core.cluster.follows, roster.status, core.cluster.wait = ask, follows, status, wait
  end })
  fn(leader)
end

local LOST <const> = { nil, "it is gone", "unavailable" }
local RAISED <const> = { nil, "lignum.lua:1: no", "script_error" }

test("leader_a_call_that_did_nothing_raises_its_error", function()
  following({ RAISED }, function(leader)
    check.raises("lignum.lua:1: no", leader.call, "append", { repeats = true })
  end)
end)

test("leader_an_error_of_a_repetition_does_not_hide_that_the_first_may_have_been_done", function()
  following({ LOST, RAISED }, function(leader)
    local ok, why, code = leader.call("append", { repeats = true })
    check.equal(ok, nil)
    check.equal(code, "unknown_outcome")
    check.has(why, "it is gone")
  end)
end)
