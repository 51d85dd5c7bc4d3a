local KEY <const> = [[
-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g
-----END PRIVATE KEY-----
]]

before(function()
  local public = assert(crypto.key(KEY)):jwk()
  fetch_answers { ["GET https://id.example/.well-known/jwks.json"] = { body = { keys = { {
    kty = public.kty, crv = public.crv, x = public.x, kid = "1", alg = "EdDSA", use = "sig" } } } } }
end)

local function ask(method, claims)
  claims.iss, claims.aud, claims.exp = claims.iss or "https://id.example", "lignum", now() + 60
  local token = assert(jwt.sign(claims, assert(crypto.key(KEY)), "EdDSA", "1"))
  return request(method, "/v1/topics/orders/messages", { body = method == "POST" and "x" or nil,
    headers = { Authorization = "Bearer " .. token } })
end

test("a token of the issuer may do what its scope says", function()
  assert.status(ask("POST", { sub = "alice", scope = "read write" }), 200)
  assert.status(ask("GET", { sub = "bob", scope = "read" }), 200)
  assert.status(ask("POST", { sub = "bob", scope = "read" }), 403)
end)

test("others are refused, and the keys are fetched once", function()
  assert.status(ask("GET", { sub = "eve", iss = "https://evil.example" }), 401)
  assert.status(request("GET", "/v1/topics"), 401)
  assert.equal(#fetched(), 1)
end)
