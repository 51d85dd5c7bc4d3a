-- sends: GET /x, POST /v1/topics/t/messages
-- works: reads metrics
local n = 0
local odd = {
  {}, false, 7, print, setmetatable({}, { __tostring = function() error {} end }), ("x"):rep(1 << 20), "\0\27[31m",
}
local function fail() n = n + 1 error(odd[n % #odd + 1]) end
route.get("/x", fail)
function on_publish() fail() end
every(0.01, fail)
