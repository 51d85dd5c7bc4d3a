local SECRET <const> = "whsec_" .. ("A"):rep(32)

test("a signed webhook is stored, and only once", function()
  local body = '{"paid":true}'
  local headers = webhook.sign(SECRET, body, { id = "msg_1" })
  for _ = 1, 2 do assert.status(request("POST", "/hooks/payments", { body = body, headers = headers }), 204) end
  assert.equal(topic("payments"):info().next, 1)
end)

test("another signature, and an old one, are refused", function()
  local headers = webhook.sign("whsec_" .. ("B"):rep(32), "{}")
  assert.status(request("POST", "/hooks/payments", { body = "{}", headers = headers }), 401)
  headers = webhook.sign(SECRET, "{}")
  advance(10 * minute)
  assert.status(request("POST", "/hooks/payments", { body = "{}", headers = headers }), 401)
end)
