test("each type has a topic", function()
  for kind, name in pairs { order = "events.orders", payment = "events.payments", other = "events.unknown" } do
    local headers = { ["Lignum-Header-Type"] = kind }
    local answer = request("POST", "/v1/topics/events/messages", { body = kind, headers = headers })
    assert.equal(answer.json.topic, name)
    assert.equal(topic(name):read { from = 0 }[1].payload, kind)
  end
end)

test("nothing stays in the topic itself", function()
  request("POST", "/v1/topics/events/messages", "no type")
  assert.status(request("GET", "/v1/topics/events"), 404)
end)
