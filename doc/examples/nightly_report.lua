-- Each night at three, Berlin's time, the leader counts the orders of the day before into the topic `reports`.
cron("0 3 * * *", function()
  local orders, n = topic "orders", 0
  if orders:info() then
    local to = now()
    for m in orders:each { from = orders:offset_at(to - day) } do
      if m.time < to then n = n + 1 end
    end
  end
  topic("reports"):append(json.encode { day = time.format(now() - day):sub(1, 10), orders = n })
end, { zone = "Europe/Berlin", once_per = "cluster" })
