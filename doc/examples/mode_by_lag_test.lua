local mode = require "mode_by_lag_rule"

local function state(...)
  local followers = {}
  for i, lag in ipairs { ... } do followers[i] = { connected = lag >= 0, lag_messages = lag } end
  return { followers = followers }
end

test("one follower that keeps up is enough", function()
  assert.equal(mode(state(0), 100), "live")
  assert.equal(mode(state(5000, 99), 100), "live")
end)

test("without one the topic is wal", function()
  assert.equal(mode(state(), 100), "wal")
  assert.equal(mode(state(5000, -1), 100), "wal")
end)

test("on a node that is alone the topic is wal, and takes messages", function()
  assert.status(request("POST", "/v1/topics/orders/messages", "x"), 200)
  assert.equal(topic("orders"):info().replication, "wal")
end)
