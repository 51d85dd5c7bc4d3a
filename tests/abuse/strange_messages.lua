-- sends: POST /v1/topics/t/messages
-- works: reads metrics
local n = 0
local odd = {
  { payload = {} }, { topic = "../../etc" }, { topic = "_topics" }, { headers = { [{}] = 1 } }, { key = 5 },
  { payload = ("x"):rep(3 << 20) }, { headers = { a = ("x"):rep(1 << 20) } }, { topic = ("t"):rep(1000) },
}
function on_publish(msg)
  n = n + 1
  for name, value in pairs(odd[n % #odd + 1]) do msg[name] = value end
  return n % 3 == 0 and 5 or nil
end
