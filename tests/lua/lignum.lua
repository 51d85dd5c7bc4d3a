-- The configuration of the broker in which tests/lua runs. The tests can require modules of this directory (check.lua).
limits { script_time = 10 }

topic "policy.*" { durability = "os", segment = { messages = 7 } }
topic "closed.*" { auto_create = false }
topic "*" { retain = { messages = 1000000 } }

-- Answers the newest message of topic jwks, and counts the requests in topic jwks.asked (test_jwt.lua).
route.get("/test/jwks", function()
  topic("jwks.asked"):append("asked")
  local sets = topic("jwks")
  return 200, sets:read({ from = sets:info().next - 1 })[1].payload, "application/json"
end)
