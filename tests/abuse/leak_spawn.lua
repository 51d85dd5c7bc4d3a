-- sends: GET /x
-- works: reads metrics publishes
route.get("/x", function()
  for _ = 1, 100 do spawn(function() local t = ("x"):rep(1000) .. os.clock() sleep(3600) return t end) end
  return 200
end)
