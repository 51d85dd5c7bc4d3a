local function ask(user, method, name)
  local secret = user and assert(tokens.add(user, { topics = "*", may = "publish,read,consume,admin,observe" }))
  return request(method, "/v1/topics/" .. name .. "/messages", { body = method == "POST" and "x" or nil,
    headers = { Authorization = secret and "Bearer " .. secret } })
end

test("shops publish orders, and read nothing", function()
  assert.status(ask("shop-7", "POST", "orders.eu"), 200)
  assert.status(ask("shop-8", "GET", "orders.eu"), 403)
  assert.status(ask("shop-9", "POST", "private"), 403)
end)

test("the administrator may all, and everybody else reads what is public", function()
  assert.status(ask("admin", "POST", "public.news"), 200)
  assert.status(ask("reader", "GET", "public.news"), 200)
  assert.status(ask("writer", "POST", "public.news"), 403)
end)

test("who shows nothing is asked for a token", function()
  tokens.add("one", { topics = "*", may = "read" })
  assert.status(ask(nil, "GET", "orders.eu"), 401)
end)
