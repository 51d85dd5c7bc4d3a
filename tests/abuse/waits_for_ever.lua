-- sends: GET /x
-- works: reads metrics publishes
route.get("/x", function() while true do pcall(sleep, 3600) pcall(lock, "l", 60) signal("s"):wait(60) end end)
every(0.01, function() local held <close> = lock("l") while true do pcall(sleep, 0.1) end end)
