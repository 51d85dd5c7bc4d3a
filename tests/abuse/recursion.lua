-- sends: GET /x
-- works: reads metrics publishes
local function deep(n) return 1 + deep(n + 1) end
local t = setmetatable({}, { __index = function(t, k) return t[k .. "x"] end })
route.get("/x", function() return 200, pcall(deep, 1) and deep(1) or t.x end)
