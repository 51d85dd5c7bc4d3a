-- What happens after hours and months, by `lignum test` (tests/run --only lua_clock).
local function state() return request("GET", "/state").json end
local function post(name, headers)
  return request("POST", "/v1/topics/" .. name .. "/messages", { body = "x", headers = headers })
end
local function there(name) return topic(name):info() ~= nil end

test("clock_every_and_after_come_when_they_are_due", function()
  advance(7100)
  assert.equal(state(), { ticks = 236, late = {} })
  advance(200)
  assert.equal(state().late, { "after" })
  advance(86400)
  assert.equal(state().late, { "after" })
end)

test("clock_cron_leaves_out_a_time_that_the_clocks_skip_and_comes_once_when_they_go_back", function()
  advance_to "2026-03-28T12:00:00Z"
  local before = topic("berlin"):info().next
  advance_to "2026-03-30T12:00:00Z"                    -- 02:30 did not come on the 29th
  assert.equal(topic("berlin"):info().next - before, 1)
  advance_to "2026-10-24T12:00:00Z"
  before = topic("berlin"):info().next
  advance_to "2026-10-26T12:00:00Z"                    -- 02:30 came twice on the 25th
  assert.equal(topic("berlin"):info().next - before, 2)
end)

test("clock_an_idempotency_key_is_remembered_for_its_time", function()
  local headers = { ["Idempotency-Key"] = "k" }
  assert.equal(post("t", headers).json.first, 0)
  advance(110)
  assert.equal(post("t", headers).json.duplicate, true)
  advance(130)
  assert.equal(post("t", headers).json.first, 1)
end)

test("clock_retention_by_age_removes_files_that_are_old_enough", function()
  for _ = 1, 5 do post "short" end
  advance(50 * minute)
  assert.equal(topic("short"):info().first, 0)
  advance(20 * minute)
  assert.equal(topic("short"):info().first, 4)
end)

test("clock_leases_delays_and_ttls_of_a_group_end_when_they_say", function()
  assert(topic("jobs"):create())
  local workers = topic("jobs"):group "workers"
  assert(workers:create { lease_time = 60, retry = { min = 0, max = 0 } })
  post("jobs", { ["Lignum-Delay"] = "3600" })
  post("jobs", { ["Lignum-TTL"] = "600" })
  local first = workers:claim { limit = 10 }
  assert.equal(#first, 1)
  assert.equal(first[1].offset, 1)
  advance(61)
  assert.equal(workers:claim({ limit = 10 })[1].offset, 1)
  advance(700)
  assert.equal(#workers:claim { limit = 10 }, 0)       -- its time is over
  advance(3000)
  assert.equal(workers:claim({ limit = 10 })[1].offset, 0)
end)

test("clock_a_token_expires", function()
  local secret = assert(tokens.add("ci", { topics = "*", may = "read", expires = "90d" }))
  local headers = { Authorization = "Bearer " .. secret }
  local function ask() return request("GET", "/v1/topics/berlin/messages", { headers = headers }).status end
  advance_to "2026-03-31T00:00:00Z"
  assert.equal(ask(), 200)
  advance_to "2026-04-02T00:00:00Z"
  assert.equal(ask(), 401)
end)

test("clock_a_long_poll_ends_after_its_time", function()
  post "t"
  local began = now()
  local answer = request("GET", "/v1/topics/t/messages?from=1&wait=30")
  assert.equal(answer.json.messages, {})
  assert(now() - began >= 30 and now() - began < 31)
end)

test("clock_a_topic_that_nobody_uses_is_deleted", function()
  for _, name in ipairs { "brief", "brief.read", "brief.appended", "lasting" } do post(name) end
  assert.equal(topic("brief"):info().expire, 3600)
  advance(3590)
  assert.equal(#topic("brief.read"):read(), 1)
  post "brief.appended"
  topic("brief"):info()                                -- to look at it is no use
  assert(there "brief")
  advance(11)
  assert(not there "brief")
  advance(3570)
  assert(there "brief.read" and there "brief.appended")
  advance(30)
  assert(not there "brief.read" and not there "brief.appended")
  assert.equal(node.stats().topics_expired, 3)
  assert(there "lasting")
  post "brief"
  assert.equal(topic("brief"):info().next, 1)          -- another one
end)

test("clock_a_reader_that_waits_keeps_its_topic", function()
  post "brief"
  post "brief.alone"
  spawn(function() for _ = 1, 90 do topic("brief"):wait(1, 60) end end)
  advance(5000)
  assert(there "brief" and not there "brief.alone")
  advance(401)
end)

test("clock_a_topic_is_kept_until_its_groups_have_settled_all", function()
  post "brief"
  local workers = topic("brief"):group "workers"
  assert(workers:create({ lease_time = 60 }, 0))
  advance(20 * hour)
  assert(there "brief")
  local claimed = workers:claim()
  advance(50)
  workers:settle { ack = { claimed[1].lease } }
  advance(3500)
  assert(there "brief")
  advance(200)
  assert(not there "brief")
  post "brief"
  assert.equal(workers:info(), nil)
end)

test("clock_a_group_that_expires_lets_its_topic_end", function()
  post "brief"
  assert(topic("brief"):group("workers"):create({ expire = 2 * hour }, 0))
  advance(2 * hour - 20)
  assert(there "brief")
  advance(2 * hour)
  assert(not there "brief")
end)

test("clock_a_change_of_expire_begins_the_time", function()
  post "t"
  post "brief"
  advance(3000)
  assert(topic("brief"):set { expire = 0 })
  assert(topic("t"):set { expire = 1000 })
  advance(990)
  assert(there "t")
  advance(20)
  assert(not there "t")
  advance(5 * hour)
  assert(there "brief")
end)
