local function post(body) return request("POST", "/broadcast", { body = body }) end

test("the message is in each topic", function()
  local answer = post { topics = { "a", "b" }, data = "x" }
  assert.status(answer, 200)
  assert.equal(answer.json.stored, { { topic = "a", first = 0 }, { topic = "b", first = 0 } })
  for _, name in ipairs { "a", "b" } do assert.equal(topic(name):read { from = 0 }[1].payload, "x") end
end)

test("where it is refused, the answer tells which topics have it", function()
  local answer = post { topics = { "a", "_topics" }, data = "x" }
  assert.status(answer, 403)
  assert.equal(answer.json.stored, { { topic = "a", first = 0 } })
  assert.status(post { topics = json.array {}, data = "x" }, 400)
  assert.status(post { data = "x" }, 400)
end)
