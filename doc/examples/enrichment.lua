-- Adds to each order what a service knows of its customer. While the service is down orders are refused, not stored
-- without it.
local function customer(id)
  local known = shared.dict("customers"):get(id)
  if known then return known end
  local answer, why = fetch { url = "https://crm.example/customers/" .. id, timeout = 2, retry = 1 }
  if not answer then return nil, why end
  if answer.status ~= 200 then return nil, "status " .. answer.status end
  local found = json.decode(answer.body)
  known = { name = found.name, region = found.region }
  shared.dict("customers"):set(id, known, 5 * minute)
  return known
end

function on_publish(msg)
  if msg.topic ~= "orders" then return end
  local order = json.decode(msg.payload)
  if type(order) ~= "table" or type(order.customer) ~= "string" then return reject("an order needs a customer") end
  local known, why = customer(order.customer)
  if not known then return reject("the customer cannot be looked up: " .. why, "unavailable") end
  order.name = known.name
  msg.payload = json.encode(order)
  msg.headers.region = known.region
end
