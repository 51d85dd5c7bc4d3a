local function pay(key)
  return request("POST", "/v1/topics/payments/messages", { body = "10 EUR", headers = { ["Lignum-Key"] = key } })
end

test("the same payment is taken once within an hour", function()
  assert.status(pay "1", 200)
  assert.status(pay "2", 200)
  local again = pay "1"
  assert.status(again, 409)
  assert.equal(again.json.code, "duplicate")
  advance(3601)
  assert.status(pay "1", 200)
end)

test("a payment without a key is refused", function() assert.status(pay(nil), 422) end)
