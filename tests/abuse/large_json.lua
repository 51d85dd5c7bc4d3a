-- sends: GET /x
-- works: reads metrics publishes
local row = {}
for i = 1, 20000 do row[i] = "text " .. i end
local deep = {}
for _ = 1, 10000 do deep = { deep } end
route.get("/x", function()
  local rows = {}
  for i = 1, 10000 do rows[i] = row end
  pcall(json.encode, deep)
  pcall(json.decode, ("["):rep(100000))
  return 200, rows
end)
