-- sends: GET /x
-- works: reads metrics publishes
local kept = {}
route.get("/x", function()
  local me = coroutine.running()
  kept[#kept + 1] = me
  for _, one in ipairs(kept) do pcall(coroutine.resume, one) pcall(coroutine.close, one) end
  local co = coroutine.create(function() sleep(0.01) coroutine.yield() sleep(3600) end)
  coroutine.resume(co)
  kept[#kept + 1] = co
  pcall(coroutine.yield)
  return 200
end)
every(0.01, function() for _, one in ipairs(kept) do pcall(coroutine.close, one) pcall(coroutine.resume, one) end end)
