local SECRET <const> = "whsec_" .. ("A"):rep(32)

before(function()
  assert(topic("orders"):create())
  assert(topic("orders"):group("webhook"):create { deliveries = 20, retry = { min = 5, max = 3600 } })
  topic("orders"):append '{"id":1}'
end)

test("an order is sent once, with a signature that is right", function()
  local right
  fetch_answers { ["POST https://shop.example/hook"] = function(asked)
    local headers = {}
    for name, value in pairs(asked.headers) do headers[name:lower()] = value end
    right = webhook.verify(SECRET, { headers = headers, body = asked.body })
    return { status = 204 }
  end }
  advance(minute)
  assert.equal(#fetched(), 1)
  assert(right)
end)

test("while the service fails it is sent again and again, and then no more", function()
  local up = false
  fetch_answers { ["POST https://shop.example/hook"] = function() return { status = up and 200 or 503 } end }
  advance(hour)
  local tries = #fetched()
  assert(tries > 3 and tries < 20)
  up = true
  advance(3 * hour)
  assert.equal(#fetched(), tries + 1)
end)
