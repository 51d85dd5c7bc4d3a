-- What clock_test.lua tests: things that take hours or months.
topic "short" { retain = { age = 1 * hour }, segment = { messages = 2 } }
topic "brief*" { expire = 1 * hour }
topic "*" { dedupe = { age = 120, keys = 1000 } }

local ticks, late = 0, {}
every(30, function() ticks = ticks + 1 end)
after(7200, function() late[#late + 1] = "after" end)
cron("30 2 * * *", function() topic("berlin"):append(time.format(now())) end, { zone = "Europe/Berlin" })

route.get("/state", function() return 200, { ticks = ticks, late = json.array(late) } end)
