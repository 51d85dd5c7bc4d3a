local function report(i) return json.decode(topic("reports"):read { from = i }[1].payload) end

test("orders are counted by day", function()
  topic("orders"):append { "a", "b" }
  advance_to "2026-01-01T02:30:00Z"                  -- half past three in Berlin
  assert.equal(report(0), { day = "2025-12-31", orders = 2 })
  topic("orders"):append "c"
  advance(day)
  assert.equal(report(1), { day = "2026-01-01", orders = 1 })
end)

test("there is one report on the days on which the clocks change", function()
  advance_to "2026-03-28T12:00:00Z"
  local before_then = topic("reports"):info().next
  advance_to "2026-03-30T12:00:00Z"
  assert.equal(topic("reports"):info().next - before_then, 2)
end)
