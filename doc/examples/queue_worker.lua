-- A worker in the broker: makes an invoice for each order, exactly once per order though it may be given one twice.
-- The group: PUT /v1/topics/orders/groups/invoices {"lease_time": 30, "order": "key"}
consume("orders", "invoices", function(msg)
  local order = json.decode(msg.payload)
  if type(order) ~= "table" or not order.total then return "reject", "no order" end
  local invoice = json.encode { order = msg.offset, total = order.total, vat = order.total * 0.19 }
  local first, why, code = topic("invoices"):append(invoice, { once = "order-" .. msg.offset })
  if not first and code ~= "unknown_outcome" then say.warn("invoice: " .. why) end
  if not first then return "release", 5 end
end)
