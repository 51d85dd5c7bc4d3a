test("a job that fails is tried four times and then kept aside", function()
  local tries = {}
  fetch_answers { ["POST https://worker.example/"] = function()
    tries[#tries + 1] = now()
    return { status = 500 }
  end }
  assert(topic("jobs"):create())
  assert(topic("jobs.dead"):create())
  assert(topic("jobs"):group("workers"):create { dead_letter = "jobs.dead", deliveries = 10 })
  topic("jobs"):append("broken")
  advance(hour)
  assert.equal(#tries, 4)
  assert.equal(math.floor(tries[2] - tries[1] + 0.5), 10)
  assert.equal(topic("jobs.dead"):read { from = 0 }[1].payload, "broken")
end)

test("a job that is done is not tried again", function()
  fetch_answers { ["POST https://worker.example/"] = "done" }
  assert(topic("jobs"):create())
  assert(topic("jobs"):group("workers"):create())
  topic("jobs"):append("good")
  advance(hour)
  assert.equal(#fetched(), 1)
end)
