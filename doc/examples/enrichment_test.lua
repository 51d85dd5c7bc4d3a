local function post() return request("POST", "/v1/topics/orders/messages", '{"customer":"7"}') end

test("the name and the region of the customer are added, and kept for five minutes", function()
  fetch_answers { ["GET https://crm.example/customers/7"] = { body = { name = "Ada", region = "eu" } } }
  assert.status(post(), 200)
  assert.status(post(), 200)
  assert.equal(#fetched(), 1)
  local m = topic("orders"):read { from = 0 }[1]
  assert.equal({ json.decode(m.payload).name, m.headers.region }, { "Ada", "eu" })
  advance(301)
  post()
  assert.equal(#fetched(), 2)
end)

test("without the service nothing is stored", function()
  fetch_answers { ["*"] = function() return nil, "no route to host", "fetch_failed" end }
  local answer = post()
  assert.status(answer, 503)
  assert.has(answer.json.detail, "no route to host")
  assert.equal(#fetched(), 2)          -- it has tried twice
end)
