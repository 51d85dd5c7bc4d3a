local function post(order)
  return request("POST", "/v1/topics/orders/messages", type(order) == "table" and json.encode(order) or order)
end

local function order(changes)
  local o = { id = 1, customer = "c", items = { "a" } }
  for name, value in pairs(changes) do o[name] = value end
  return o
end

test("an order of the shape is stored", function()
  assert.status(post(order {}), 200)
  assert.status(post(order { express = true }), 200)
end)

test("what is wrong is named", function()
  for field, value in pairs { id = "1", customer = 5, items = json.array {}, express = "yes", colour = "red" } do
    local answer = post(order { [field] = value })
    assert.status(answer, 422)
    assert.equal({ answer.json.code, answer.json.field }, { "invalid_order", field })
  end
  assert.equal(post("no JSON").json.field, "payload")
end)

test("other topics are not looked at", function()
  assert.status(request("POST", "/v1/topics/notes/messages", "no JSON"), 200)
end)
