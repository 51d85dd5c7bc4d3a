-- sends: GET /x
-- works: reads metrics publishes
route.get("/x", function()
  assert(not load("\27Lua\x54", "x", "b"))
  assert(not pcall(string.dump or error, print))
  assert(not debug.sethook and not debug.getregistry and not os.execute and not io.popen and not package)
  assert(not pcall(setmetatable, {}, { __gc = function() while true do end end }))
  return 200, getmetatable("").__index == string
end)
