-- sends: GET /x
-- works: reads metrics publishes
local function nest(n)
  if n == 0 then while true do end end
  return coroutine.wrap(function() return nest(n - 1) end)()
end
route.get("/x", function() return 200, nest(100) end)
