local function post(order) return request("POST", "/v1/topics/orders/messages", json.encode(order)) end

test("orders are counted by country and value", function()
  post { value = 20, country = "de" }
  post { value = 700, country = "de" }
  post { value = 5 }
  local page = request("GET", "/metrics").body
  assert.has(page, 'shop_orders_total{country="de"} 2')
  assert.has(page, 'shop_orders_total{country="unknown"} 1')
  assert.has(page, 'shop_order_value_bucket{le="50"} 2')
end)

test("the age of the last order rises", function()
  post { value = 1 }
  advance(300)
  local age = tonumber(request("GET", "/metrics").body:match("\nshop_last_order_age_seconds (%S+)"))
  assert(age > 280 and age <= 301, tostring(age))
end)
