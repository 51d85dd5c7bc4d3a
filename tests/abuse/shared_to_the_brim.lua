-- sends: GET /x
-- works: reads metrics publishes
route.get("/x", function()
  for i = 1, 100 do
    local ok, d = pcall(shared.dict, "d" .. i)
    if ok then for k = 1, 20 do pcall(d.set, d, k .. os.clock(), ("x"):rep(60000)) end end
  end
  for i = 1, 2000 do pcall(function() signal("s" .. i .. os.clock()):send() metrics.counter("c" .. i):add(1) end) end
  return 200
end)
