-- sends: POST /v1/topics/t/messages
-- works: reads metrics
function on_publish(msg)
  topic(msg.topic):append(msg.payload .. "x")
  topic("other"):append { payload = msg.payload, headers = msg.headers }
end
every(0.01, function() for _ = 1, 100 do topic("more"):append("x") end end)
