-- sends:
-- works: reads metrics
local head
every(0.001, function() head = { text = ("x"):rep(100000) .. os.clock(), next = head } end)
