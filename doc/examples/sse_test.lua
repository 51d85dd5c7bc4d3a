local function listen(path)
  local answer
  spawn(function() answer = request("GET", path) end)
  advance(1)
  return function() return answer end
end

test("a client gets the prices of its share from now on", function()
  topic("prices"):append { key = "ACME", payload = "9" }
  local answer = listen "/prices/ACME?limit=2"
  for _, price in ipairs { { "ACME", "10" }, { "OTHER", "1" }, { "ACME", "11" } } do
    topic("prices"):append { key = price[1], payload = price[2] }
  end
  advance(1)
  assert.equal(answer().body, "data: 10\n\ndata: 11\n\n")
  assert.equal(answer().headers["content-type"], "text/event-stream")
end)

test("while there are none it gets comments, also before there is a topic", function()
  local answer = listen "/prices/ACME?limit=1"
  advance(5)
  topic("prices"):append { key = "OTHER", payload = "1" }
  advance(20)
  topic("prices"):append { key = "ACME", payload = "12" }
  advance(20)
  assert.has(answer().body, ": nothing new\n\n")
  assert.has(answer().body, "data: 12\n\n")
end)
