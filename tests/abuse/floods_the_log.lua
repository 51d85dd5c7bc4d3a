-- sends: GET /x
-- works: reads metrics publishes
every(0.001, function() for i = 1, 10000 do say.error(("line %d "):format(i):rep(10)) end end)
route.get("/x", function() for i = 1, 1000 do print(i) end return 200 end)
