-- Takes webhooks of another service, checks their signature (Standard Webhooks), and stores each once.
local SECRET <const> = os.getenv "WEBHOOK_SECRET" or "whsec_" .. ("A"):rep(32)

route.post("/hooks/payments", function(req)
  local payload, why = webhook.verify(SECRET, req)
  if not payload then return http.fail("unauthorized", why) end
  local first, problem, code = topic("payments"):append(req.body, { once = req:header "webhook-id" })
  if not first then return http.fail(code, problem) end
  return 204
end)
