local function post(secret)
  local headers = { Authorization = secret and "Bearer " .. secret }
  return request("POST", "/v1/topics/orders/messages", { body = "x", headers = headers })
end

test("who is in the file may publish, under the name there", function()
  assert.status(post "s3cret-of-alice", 200)
  local m = topic("orders"):read { from = 0 }[1]
  assert.equal(m.headers["published-by"], "alice")
end)

test("who is not is refused", function()
  assert.status(post "guess", 401)
  assert.status(post(nil), 401)
end)

test("the file is read again", function()
  advance(3600)
  assert.status(post "s3cret-of-bob", 200)
end)
