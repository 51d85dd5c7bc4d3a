local function claim() return topic("reminders"):group("mailer"):claim { limit = 10 } end

test("a reminder is delivered when its time has come, not before", function()
  assert.status(request("POST", "/remind", { body = { at = "2026-01-02T09:00:00Z", text = "rent" } }), 201)
  assert(topic("reminders"):group("mailer"):create({}, 0))
  assert.equal(#claim(), 0)
  advance_to "2026-01-02T08:59:00Z"
  assert.equal(#claim(), 0)
  advance(61)
  assert.equal(claim()[1].payload, "rent")
end)

test("a time that has passed is refused", function()
  assert.status(request("POST", "/remind", { body = { at = "2025-01-01T00:00:00Z", text = "x" } }), 400)
  assert.status(request("POST", "/remind", { body = { at = "tomorrow", text = "x" } }), 400)
end)
