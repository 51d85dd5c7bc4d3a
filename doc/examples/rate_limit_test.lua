local function post() return request("POST", "/v1/topics/t/messages", "x") end

test("the message beyond the limit is refused, and a minute later it is taken", function()
  for _ = 1, 100 do assert.status(post(), 200) end
  assert.status(post(), 429)
  advance(61)
  assert.status(post(), 200)
end)

test("the node's own scripts are not limited", function()
  for i = 1, 150 do assert(topic("t"):append("message " .. i)) end
end)
