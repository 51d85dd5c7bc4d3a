-- A stream of one's own: GET /prices/{symbol} sends the price of one share as server-sent events, for as long as the
-- client listens, or `limit` of them.
route.get("/prices/{symbol}", function(req)
  local symbol, prices = req.params.symbol, topic "prices"
  local left, from = tonumber(req.query.limit) or math.huge, prices:info() and prices:info().next or 0
  return 200, function(write)
    while left > 0 do
      if prices:info() and prices:wait(from, 15) then
        for m in prices:each { from = from } do
          from = m.offset + 1
          if m.key == symbol and left > 0 then
            if not write(("data: %s\n\n"):format(m.payload)) then return end
            left = left - 1
          end
        end
      elseif not write(": nothing new\n\n") then
        return
      end
      if not prices:info() then sleep(1) end
    end
  end, "text/event-stream"
end)
