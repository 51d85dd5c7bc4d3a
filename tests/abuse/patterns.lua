-- sends: GET /x, POST /v1/topics/t/messages
-- works: reads metrics
local blanks = (" "):rep(200000) .. "x"
route.get("/x", function() return 200, blanks:match("^(.-)%s*$") or blanks:gsub("%s+$", "") end)
function on_publish(msg) msg.payload = (("a"):rep(30)):match(("a?"):rep(30) .. ("a"):rep(30) .. "b") or "" end
