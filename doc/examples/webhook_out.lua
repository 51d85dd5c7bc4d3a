-- Tells another service of each order, signed as Standard Webhooks. What it does not take is sent again, later each
-- time.
-- The group: PUT /v1/topics/orders/groups/webhook {"deliveries": 20, "retry": {"min": 5, "max": 3600}}
local SECRET <const> = os.getenv "WEBHOOK_SECRET" or "whsec_" .. ("A"):rep(32)

consume("orders", "webhook", function(msg)
  local headers = webhook.sign(SECRET, msg.payload, { id = "order-" .. msg.offset })
  headers["Content-Type"] = "application/json"
  local answer = fetch { url = "https://shop.example/hook", body = msg.payload, headers = headers, timeout = 10 }
  if not answer or answer.status >= 500 or answer.status == 429 then return "release" end
  if answer.status >= 400 then return "reject", "status " .. answer.status end
end)
