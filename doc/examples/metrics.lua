-- Metrics of one's own on /metrics: orders and their value by country, and how long ago the last one came.
local orders = metrics.counter("shop_orders_total", "Orders that were stored.", { "country" })
local values = metrics.histogram("shop_order_value", "Value of orders, in EUR.", {}, { 10, 50, 100, 500, 1000 })
local age = metrics.gauge("shop_last_order_age_seconds", "Seconds since the last order.")

local last

function on_publish(msg)
  if msg.topic ~= "orders" then return end
  local order = json.decode(msg.payload)
  if type(order) ~= "table" or not tonumber(order.value) then return reject("an order needs a value") end
  orders:add(1, order.country or "unknown")
  values:observe(order.value)
  last = now()
end

every(10 * second, function() age:set(last and now() - last or -1) end)
