-- sends: GET /x, POST /v1/topics/t/messages
-- works:
local head
function authorize(req)
  head = { text = ("x"):rep(100000) .. os.clock(), next = head }
  return true
end
