local check = require "check"
local core = require "lignum.core"
local function test(name, fn) check.test(print, name, fn) end

-- The duty of health with clocks and a disk of the test's own.
local function a_health()
  local now, clock, stats = core.now, core.time.clock, core.node.stats
  local world = { wall = now(), seconds = clock(), free = 1000000 }
  core.now = function() return world.wall end
  core.time.clock = function() return world.seconds end
  core.node.stats = function(...)
    local s = stats(...)
    s.store.disk_free, s.store.disk_size = world.free, 2000000
    return s
  end
  local _, own = check.draft(nil)
  local health = own "lignum.health"
  local duty = health.duties()[1].fn
  function world.pass(seconds, clock_step)
    world.seconds, world.wall = world.seconds + seconds, world.wall + seconds + (clock_step or 0)
    duty()
  end
  function world.problem(code)
    for _, p in ipairs(health.report().problems) do
      if p.code == code then return p end
    end
  end
  return world, setmetatable({}, { __close = function()
    core.now, core.time.clock, core.node.stats = now, clock, stats
  end })
end

test("health_a_step_of_the_clock_is_reported_for_an_hour", function()
  local w, restore <close> = a_health()     -- luacheck: ignore 211
  w.pass(5) w.pass(5)
  check.equal(w.problem("clock_stepped"), nil)
  w.pass(5, -30)
  local since = w.wall
  check.has(w.problem("clock_stepped").what, "set by -30.0 s")
  w.pass(5)
  check.equal(w.problem("clock_stepped").since, since)
  w.pass(3600)
  check.equal(w.problem("clock_stepped"), nil)
end)

test("health_a_disk_that_fills_is_foreseen_and_worse_when_it_is_soon", function()
  local w, restore <close> = a_health()     -- luacheck: ignore 211
  for _ = 1, 5 do w.pass(60) w.free = w.free - 1000 end
  check.equal(w.problem("disk_fills"), nil)      -- too short for a forecast
  for _ = 1, 10 do w.pass(60) w.free = w.free - 1000 end
  check.equal(w.problem("disk_fills").severity, "warning")
  check.has(w.problem("disk_fills").what, "full in 16 h")
  for _ = 1, 20 do w.pass(60) w.free = w.free - 20000 end
  check.equal(w.problem("disk_fills").severity, "critical")
  w.free = 10000000
  w.pass(60)
  check.equal(w.problem("disk_fills"), nil)
end)

test("health_a_group_whose_oldest_message_is_not_settled_is_named", function()
  local t = core.topic "health.stands"
  t:append { "one", "two" }
  local group = t:group "g"
  assert(group:create({}, 0))
  local w, restore <close> = a_health()     -- luacheck: ignore 211
  w.pass(5) w.pass(590)
  check.equal(w.problem("group_stands"), nil)
  w.pass(20)
  check.equal(w.problem("group_stands").subject, "health.stands/g")
  check.has(w.problem("group_stands").what, "has not settled offset 0 for")
  check.has(w.problem("group_stands").what, "no consumers")
  group:settle { ack = { group:claim({ limit = 1 })[1].lease } }
  w.pass(5)
  check.equal(w.problem("group_stands"), nil)
end)
