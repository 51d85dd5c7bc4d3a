-- sends: GET /x, POST /v1/topics/t/messages
-- works: reads metrics
string.format, table.concat, table.sort, math.min = nil, nil, nil, nil
json.encode, crypto.sha256, say.info = nil, nil, nil
route.get("/x", function(req) topic = req.path return 200 end)
function on_publish(msg) setmetatable(msg, { __index = error, __newindex = error }) _G.x = 1 end
