-- sends: GET /x
-- works: reads metrics publishes
local stubborn = setmetatable({}, { __close = function() while true do end end })
route.get("/x", function()
  local one <close> = stubborn
  local two <close> = stubborn
  while true do end
end)
