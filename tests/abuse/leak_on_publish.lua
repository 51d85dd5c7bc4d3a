-- sends: POST /v1/topics/t/messages
-- works: reads metrics
local head
function on_publish(msg) head = { payload = msg.payload .. "!", rest = ("x"):rep(10000) .. os.clock(), next = head } end
