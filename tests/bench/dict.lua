-- Measures shared.dict, a million operations of each kind. In the console of a node with limits.script_time = 30:
--
--     build/lignum console DATA/console.sock <tests/bench/dict.lua
do
  local d = shared.dict("bench", { bytes = 64 * MiB })
  local count <const> = 1000000
  local function measure(name, fn)
    local began = os.clock()
    for i = 1, count do fn(i) end
    print(("%-24s %.2f M operations/s"):format(name, count / (os.clock() - began) / 1e6))
  end
  d:set("text", "value")
  measure("incr", function() d:incr("n") end)
  measure("get, a number", function() d:get("n") end)
  measure("get, a string", function() d:get("text") end)
  measure("set, a number", function(i) d:set("n", i) end)
  measure("set, with a ttl", function(i) d:set("t", i, 60) end)
  measure("set, a string, 1000 keys", function(i) d:set("user." .. i % 1000, "value") end)
  measure("cas", function(i) d:cas("n", i, i + 1) end)
end
