before(function()
  assert(topic("orders"):create())
  assert(topic("orders"):group("invoices"):create { lease_time = 30, order = "key" })
end)

test("each order gets an invoice", function()
  topic("orders"):append { '{"total": 100}', '{"total": 200}' }
  advance(5)
  local invoices = topic("invoices"):read { from = 0 }
  assert.equal(#invoices, 2)
  assert.equal(json.decode(invoices[1].payload), { order = 0, total = 100, vat = 19.0 })
end)

test("what is no order is rejected, and the next one goes on", function()
  topic("orders"):append { "garbage", '{"total": 1}' }
  advance(5)
  assert.equal(topic("invoices"):info().next, 1)
  assert.equal(topic("orders"):group("invoices"):info().lag, 0)
end)
