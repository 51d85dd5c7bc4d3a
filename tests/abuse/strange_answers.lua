-- sends: GET /x
-- works: reads metrics publishes
local n = 0
local loop = {}
loop.loop = loop
local odd = {
  { 1e308 }, { "x" }, { 200, loop }, { 200, "", { ["a\nb"] = "c" } }, { 200, print }, {}, { 200, { 0 / 0 } }, { -1 },
  { 200, "x", { ["Transfer-Encoding"] = "chunked", ["Content-Length"] = "9" } }, { 200, coroutine.create(print) },
}
route.get("/x", function() n = n + 1 return table.unpack(odd[n % #odd + 1]) end)
