-- sends: GET /x
-- works: reads metrics publishes
local function all()
  pcall(string.rep, "x", 1 << 62)
  pcall(string.rep, "", 1 << 62)
  pcall(table.move, {}, 1, math.maxinteger - 1, 2)
  pcall(table.concat, setmetatable({}, { __len = function() return 1 << 60 end, __index = function() return "" end }))
  pcall(table.insert, setmetatable({}, { __len = function() return 1 << 60 end }), 1, 1)
  pcall(table.unpack, {}, 1, 1 << 40)
  pcall(string.format, "%99999999d", 1)
  pcall(io.open, "/dev/zero")
  pcall(io.lines, "/dev/tty")
  local t = {}
  for i = 1, 50000 do t[i] = -i % 7919 end
  table.sort(t, function() return true end)
end
route.get("/x", function() return 200, tostring(pcall(all)) end)
