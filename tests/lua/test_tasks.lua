-- spawn, tasks, lock, signal, after.
local check = require "check"
local core = require "lignum.core"
local schedule = require "lignum.schedule"
local spawn, lock, signal, sleep = core.spawn, core.lock, core.signal, core.sleep
local function test(name, fn) check.test(print, name, fn) end

local function wait_until(fn)
  for _ = 1, 1000 do
    if fn() then return end
    sleep(0.005)
  end
  error("it does not happen", 2)
end

local function find(id)
  for _, t in ipairs(core.tasks.list()) do
    if t.id == id then return t end
  end
end

test("tasks_spawned_ones_get_their_arguments_and_run_beside_the_caller", function()
  local got
  local id = spawn(function(...) got = table.pack(...) end, 1, nil, "three")
  check.equal({ math.type(id), got }, { "integer", nil })
  wait_until(function() return got end)
  check.equal({ got.n, got[1], got[2], got[3] }, { 3, 1, nil, "three" })
  check.raises("fn must be a function, not nil", spawn, nil)
  check.raises("more than 32 arguments", spawn, print, table.unpack({}, 1, 33))
end)

test("tasks_are_listed_with_their_place_and_cancelled", function()
  local closed, after_wait = false, false
  local id = spawn(function()
    local guard <close> = setmetatable({}, { __close = function() closed = true end })    -- luacheck: ignore 211
    sleep(1000)
    after_wait = true
  end)
  wait_until(function() return find(id) and find(id).state == "waits" end)
  local t = find(id)
  check.has(t.where, "spawn at console:")
  if t.age < 0 or t.age > 60 then error("age " .. t.age) end
  check.equal({ core.tasks.cancel(id), closed, after_wait, find(id) }, { true, true, false, nil })
  check.equal({ core.tasks.cancel(id), core.tasks.cancel(0), core.tasks.cancel(1 << 62) }, { false, false, false })
  check.raises("id must be a whole number", core.tasks.cancel, "x")
end)

test("tasks_that_fail_are_over_and_their_number_is_bounded", function()
  local ids = {}
  wait_until(function()
    ids = {}
    for i = 1, 1001 do
      local id, why, code = spawn(sleep, 1000)
      if not id then
        check.equal({ why, code }, { "1000 tasks of spawn and after are running", "busy" })
        break
      end
      ids[i] = id
    end
    for _, id in ipairs(ids) do core.tasks.cancel(id) end
    return #ids == 1000
  end)
  local done
  spawn(function() error("expected by a test") end)
  spawn(function() done = true end)
  wait_until(function() return done end)
end)

test("lock_is_held_by_one_task_at_a_time_in_the_order_of_asking", function()
  local running, most, order = 0, 0, {}
  for i = 1, 20 do
    spawn(function()
      local held <close> = assert(lock("one"))                                              -- luacheck: ignore 211
      running = running + 1
      most = math.max(most, running)
      sleep(0.001)
      running = running - 1
      order[#order + 1] = i
    end)
  end
  wait_until(function() return #order == 20 end)
  check.equal({ most, table.concat(order, " ") }, { 1, "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20" })
  lock("one", 0.01):release()
end)

test("lock_waits_end_by_timeout_and_cancelled_waiters_are_left_out", function()
  local held, got = lock("two"), {}
  local none, _, code = lock("two", 0.01)
  check.equal({ none, code }, { nil, "timeout" })
  local first = spawn(function() got.first = lock("two") end)
  spawn(function() got.second = lock("two") end)
  wait_until(function() return find(first) and find(first).state == "waits" end)
  core.tasks.cancel(first)
  held:release()
  held:release()
  wait_until(function() return got.second end)
  check.equal(got.first, nil)
  local third
  third, _, code = lock("two", 0.01)
  check.equal({ third, code }, { nil, "timeout" })
  got.second:release()
  lock("two", 0.01):release()
end)

test("lock_of_a_task_that_is_cancelled_when_it_has_just_got_it_goes_on", function()
  local held, got = lock("three"), false
  local first = spawn(function() local mine <close> = lock("three") sleep(1000) end)        -- luacheck: ignore 211
  spawn(function() got = lock("three") end)
  wait_until(function() return find(first) and find(first).state == "waits" end)
  held:release()                  -- it is the first one's now, which has not run yet
  check.equal(find(first).state, "ready")
  core.tasks.cancel(first)
  wait_until(function() return got end)
  got:release()
end)

test("lock_of_a_task_that_fails_is_released", function()
  spawn(function()
    local mine <close> = lock("four")                                                       -- luacheck: ignore 211
    sleep(0.001)
    error("expected by a test")
  end)
  sleep(0)
  lock("four", 5):release()
end)

test("signal_wakes_all_who_wait_and_misses_nothing", function()
  local s, woken = signal("go"), 0
  local ids = {}
  for i = 1, 3 do
    ids[i] = spawn(function()
      if s:wait(5) then woken = woken + 1 end
    end)
  end
  wait_until(function() return find(ids[3]) and find(ids[3]).state == "waits" end)
  local count = signal("go"):send()
  wait_until(function() return woken == 3 end)
  check.equal({ s:wait(0.01, count - 1), (s:wait(0.01, count)) }, { count, nil })
  local none, _, code = s:wait(0.01)
  check.equal({ none, code }, { nil, "timeout" })
  check.equal(signal("stay"):send(), 1)
  check.raises("name must have 1 to 128 bytes", signal, "")
  check.raises("name must have 1 to 128 bytes", lock, ("x"):rep(129))
  check.raises("must be called on a signal", s.wait, "go")
end)

test("after_in_a_task_runs_once_and_can_be_cancelled", function()
  local ran, never = 0, 0
  schedule.later(0.01, function() ran = ran + 1 end)
  local id = schedule.later(0.01, function() never = never + 1 end)
  core.tasks.cancel(id)
  wait_until(function() return ran > 0 end)
  sleep(0.03)
  check.equal({ ran, never }, { 1, 0 })
  check.raises("after: needs a number of seconds from 0 to", schedule.later, -1, print)
  check.raises("after: needs a function", schedule.later, 1)
end)

test("schedule_errors_name_the_line", function()
  local world, why = check.draft('every(1, 2)\nevery(1, print, { onceper = "x" })\n'
    .. 'every(1, print, { once_per = "node" })\ncron("61 * * * *", print)\n'
    .. 'cron("* * * * *", print, { zone = "Mars" })\ncron("0 0 30 2 *", print)\n'
    .. 'after(-1, print)\nafter(1)\n')
  check.equal(world, nil)
  local n = 0
  for line in why:gmatch("[^\n]+") do
    n = n + 1
    check.has(line, "lignum.lua:" .. n .. ": ")
    check.has(line, ({
      "every: needs a function", "there is no option onceper; did you mean once_per?", 'once_per must be "cluster"',
      "61 is no minute", "this host has no time zone Mars", '"0 0 30 2 *" never comes', "after: needs a number",
      "after: needs a function",
    })[n])
  end
  check.equal(n, 8)
end)
