local function transfer(from, to, amount)
  topic("transfers"):append(json.encode { from = from, to = to, amount = amount })
end

test("balances follow the transfers", function()
  transfer("ada", "bob", 10)
  transfer("bob", "eve", 4)
  assert.equal(request("GET", "/balances/bob").json, { account = "bob", balance = 6, at = 2 })
  transfer("eve", "bob", 1)
  assert.equal(request("GET", "/balances/bob").json.balance, 7)
  assert.equal(request("GET", "/balances/ada").json.balance, -10)
end)

test("an account without transfers is 404", function() assert.status(request("GET", "/balances/nobody"), 404) end)
