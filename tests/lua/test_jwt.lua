-- jwt and webhook.
local check = require "check"
local core = require "lignum.core"
local jwt = require "lignum.jwt"
local webhook = require "lignum.webhook"
local crypto, json = core.crypto, core.json
local function test(name, fn) check.test(print, name, fn) end

local SECRET <const> = ("s"):rep(64)
local NOW <const> = 1300819000

-- RFC 7515, appendix A.1
local OCT <const> = {
  kty = "oct", k = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
}
local OCT_TOKEN <const> = ""
  .. "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0"
  .. "dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
-- RFC 8037, appendix A, and one key of each other type
local ED <const> = {
  kty = "OKP", crv = "Ed25519", x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
  d = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
}
local EC <const> = {
  kty = "EC", crv = "P-256", x = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
  y = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0", d = "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI",
}
local ED_KEY <const>, EC_KEY <const> = assert(crypto.key(ED)), assert(crypto.key(EC))

local function public(jwk, more)
  local copy = { kty = jwk.kty, crv = jwk.crv, x = jwk.x, y = jwk.y }
  for name, value in pairs(more or {}) do copy[name] = value end
  return copy
end

local function refused(words, token, keys, options)
  local claims, why, code = jwt.verify(token, keys, options)
  check.equal({ claims or false, code }, { false, "unauthorized" })
  check.has(why, words)
end

test("jwt_the_token_of_rfc_7515_is_verified", function()
  check.equal(jwt.verify(OCT_TOKEN, OCT, { now = NOW }),
    { iss = "joe", exp = 1300819380, ["http://example.com/is_root"] = true })
  check.equal(jwt.verify("Bearer " .. OCT_TOKEN, { keys = { OCT } }, { now = NOW, issuer = "joe" }).iss, "joe")
  refused("signature is wrong", OCT_TOKEN:gsub("eyJpc3M", "eyJpc3N"), OCT, { now = NOW })
  refused("signature is wrong", OCT_TOKEN:sub(1, -3) .. "kk", OCT, { now = NOW })
  refused("signature is wrong", OCT_TOKEN:match("^.*%.") , OCT, { now = NOW })
end)

test("jwt_a_token_of_each_kind_goes_both_ways", function()
  for _, v in ipairs {
    { SECRET, "HS256", SECRET }, { SECRET, "HS384", SECRET }, { SECRET, "HS512", SECRET },
    { ED_KEY, "EdDSA", public(ED) }, { EC_KEY, "ES256", public(EC) },
  } do
    local token = jwt.sign({ sub = "al", exp = NOW + 1, n = 1 << 40 }, v[1], v[2], "k1")
    check.equal(jwt.verify(token, v[3], { now = NOW }), { sub = "al", exp = NOW + 1, n = 1 << 40 })
    check.equal(jwt.verify(token, { v[1], SECRET }, { now = NOW }).sub, "al")
    refused("algorithm is not accepted", token, v[3], { now = NOW, algorithms = { "RS256" } })
  end
end)

test("jwt_a_token_cannot_choose_another_algorithm", function()
  local function token_of(header, sign)
    local signed = crypto.encode(json.encode(header), "base64url") .. "."
      .. crypto.encode(json.encode { exp = NOW + 1 }, "base64url")
    return signed .. "." .. crypto.encode(sign(signed), "base64url")
  end
  local spki = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n"
    .. "-----END PUBLIC KEY-----\n"
  local key = assert(crypto.key(spki))
  for _, secret in ipairs { spki, crypto.decode(ED.x, "base64url"), ED.x } do      -- the public key used as a secret
    local token = token_of({ alg = "HS256" }, function(s) return crypto.hmac("sha256", secret, s) end)
    refused("no key is for this token", token, key, { now = NOW })
    refused("no key is for this token", token, public(ED), { now = NOW })
  end
  local function nothing() return "" end
  for _, alg in ipairs { "none", "None", "NONE", "", "HS1", "sha256" } do
    refused("algorithm is not accepted", token_of({ alg = alg }, nothing), SECRET, { now = NOW })
  end
  refused("algorithm is not accepted", token_of({}, nothing), SECRET, { now = NOW })
  refused("algorithm is not accepted", token_of({ alg = { "HS256" } }, nothing), SECRET, { now = NOW })
  local signed = token_of({ alg = "ES256", crit = { "exp" } }, function(s) return EC_KEY:sign("ES256", s) end)
  refused("critical extensions", signed, EC_KEY, { now = NOW })
  signed = token_of({ alg = "ES256", kid = "a" }, function(s) return EC_KEY:sign("ES256", s) end)
  check.equal(jwt.verify(signed, public(EC, { kid = "a" }), { now = NOW }).exp, NOW + 1)
  refused("no key is for this token", signed, public(EC, { kid = "b" }), { now = NOW })
  refused("no key is for this token", signed, public(EC, { alg = "ES384" }), { now = NOW })
  check.raises("no key that can be used: not for signatures", jwt.verify, signed, public(EC, { use = "enc" }))
  check.raises("a PEM text is no secret", jwt.verify, signed, spki)
end)

test("jwt_a_secret_that_can_be_guessed_is_refused", function()
  local signed = "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjl9"
  local token = signed .. "." .. crypto.encode(crypto.hmac("sha256", "secret", signed), "base64url")
  refused("at least 32 bytes", token, "secret", { now = 1 })
  check.raises("at least 48 bytes", jwt.sign, {}, ("s"):rep(47), "HS384")
  check.raises("cannot be made with this key", jwt.sign, {}, SECRET, "ES256")
  check.raises("cannot be made with this key", jwt.sign, {}, EC_KEY, "HS256")
end)

test("jwt_times_are_checked_to_the_second", function()
  local function token(claims) return jwt.sign(claims, SECRET, "HS256") end
  refused("has expired", token { exp = NOW }, SECRET, { now = NOW })
  check.equal(jwt.verify(token { exp = NOW }, SECRET, { now = NOW, leeway = 1 }).exp, NOW)
  refused("has expired", token { exp = NOW - 1 }, SECRET, { now = NOW, leeway = 1 })
  refused("not valid yet", token { exp = NOW + 9, nbf = NOW + 1 }, SECRET, { now = NOW })
  check.equal(jwt.verify(token { exp = NOW + 9, nbf = NOW + 1 }, SECRET, { now = NOW, leeway = 1 }).nbf, NOW + 1)
  refused("has no exp", token { sub = "x" }, SECRET, { now = NOW })
  check.equal(jwt.verify(token { sub = "x" }, SECRET, { now = NOW, eternal = true }).sub, "x")
  refused("exp is no number", token { exp = "9999999999" }, SECRET, { now = NOW })
  refused("exp is no number", token { exp = json.null }, SECRET, { now = NOW, eternal = true })
  refused("nbf is no number", token { exp = NOW + 9, nbf = true }, SECRET, { now = NOW })
  refused("has expired", token { exp = 1 }, SECRET)
end)

test("jwt_issuer_and_audience_are_checked", function()
  local function token(claims)
    claims.exp = NOW + 9
    return jwt.sign(claims, SECRET, "HS256")
  end
  local one, many, none = token { iss = "a", aud = "x" }, token { iss = "a", aud = { "w", "x" } }, token { iss = "a" }
  for _, t in ipairs { one, many } do
    check.equal(jwt.verify(t, SECRET, { now = NOW, audience = "x", issuer = "a" }).iss, "a")
    check.equal(jwt.verify(t, SECRET, { now = NOW, audience = { "y", "x" }, issuer = { "b", "a" } }).iss, "a")
    refused("another audience", t, SECRET, { now = NOW, audience = "y" })
    refused("another audience", t, SECRET, { now = NOW })
    refused("another issuer", t, SECRET, { now = NOW, audience = "x", issuer = "b" })
  end
  refused("another audience", none, SECRET, { now = NOW, audience = "x" })
  refused("another issuer", token {}, SECRET, { now = NOW, issuer = "a" })
  check.raises("there is no option audiance; did you mean audience?", jwt.verify, one, SECRET, { audiance = "x" })
  check.raises("leeway must be a number", jwt.verify, one, SECRET, { leeway = "1" })
end)

test("jwt_what_is_no_token_is_refused", function()
  for _, bad in ipairs {
    "", "a", "a.b", "a.b.c", "a.b.c.d", "....", "Bearer", "Bearer ", OCT_TOKEN .. "=", OCT_TOKEN .. "\n",
    " " .. OCT_TOKEN, "W10.W10.W10", "e30.e30.e30", ("a"):rep(17000),
  } do
    local claims, _, code = jwt.verify(bad, OCT, { now = NOW })
    check.equal({ bad, claims or false, code }, { bad, false, "unauthorized" })
  end
  local list = "eyJhbGciOiJIUzI1NiJ9.WzFd"     -- claims that are a list
  refused("no JSON object", list .. "." .. crypto.encode(crypto.hmac("sha256", SECRET, list), "base64url"), SECRET)
end)

-- The address that the broker listens on, which it writes into its log.
local function base()
  local log = require("lignum.core").read_file(os.getenv("LIGNUM_LOG"))
  return "http://" .. log:match("listening address=(%S+)")
end

-- A set that this broker itself serves: /test/jwks answers the newest message of topic jwks (tests/lua/lignum.lua).
local function publish_set(list)
  assert(core.topic("jwks"):append(json.encode { keys = list }))
end

local function asked()
  local topic = core.topic("jwks.asked"):info()
  return topic and topic.next or 0
end

test("jwt_a_set_is_fetched_once_and_again_for_a_new_key", function()
  local _, why, code
  local keys = { url = base() .. "/test/jwks" }
  local old = jwt.sign({ exp = NOW + 9 }, ED_KEY, "EdDSA", "old")
  publish_set { public(ED, { kid = "old" }), { kty = "unknown" } }
  local before = asked()
  for _ = 1, 3 do check.equal(jwt.verify(old, keys, { now = NOW }).exp, NOW + 9) end
  check.equal(asked() - before, 1)
  publish_set { public(EC, { kid = "new" }) }
  local new = jwt.sign({ exp = NOW + 9 }, EC_KEY, "ES256", "new")
  -- The set is seconds old: strangers cannot make this node ask on and on.
  _, why, code = jwt.verify(new, keys, { now = NOW })
  check.equal({ why, code, asked() - before }, { "no key is for this token", "unauthorized", 1 })
  local clock = core.time.clock
  core.time.clock = function() return clock() + 11 end
  local ok, problem = pcall(function()
    check.equal(jwt.verify(new, keys, { now = NOW }).exp, NOW + 9)
    check.equal(asked() - before, 2)
    refused("no key is for this token", old, keys, { now = NOW })
  end)
  core.time.clock = clock
  if not ok then error(problem, 0) end
end)

test("jwt_a_set_that_cannot_be_had_is_unavailable", function()
  for path, words in pairs { ["/none"] = "the answer is 404", ["/ping"] = "no JSON Web Key Set" } do
    local claims, why, code = jwt.verify(OCT_TOKEN, { url = base() .. path }, { now = NOW })
    check.equal({ claims or false, code }, { false, "unavailable" })
    check.has(why, words)
  end
  check.raises("must begin with https://", jwt.verify, OCT_TOKEN, { url = "http://example.com/keys" })
  check.raises("must begin with https://", jwt.verify, OCT_TOKEN, { url = "http://127.0.0.1@example.com/keys" })
  check.raises("must begin with https://", jwt.verify, OCT_TOKEN, { url = "http://127.0.0.1.example.com/keys" })
end)

local WHSEC <const> = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

test("webhook_the_example_of_the_specification_is_verified", function()
  local headers = {
    ["webhook-id"] = "msg_p5jXN8AQM9LWM0D4loKWxJek", ["webhook-timestamp"] = "1614265330",
    ["webhook-signature"] = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
  }
  local req, options = { headers = headers, body = '{"test": 2432232314}' }, { now = 1614265330 }
  check.equal(webhook.verify(WHSEC, req, options), "msg_p5jXN8AQM9LWM0D4loKWxJek")
  check.equal(webhook.sign(WHSEC, req.body, { id = headers["webhook-id"], time = 1614265330 }), headers)
  local other <const> = "whsec_" .. crypto.encode(("x"):rep(32), "base64")
  check.equal(webhook.verify({ other, WHSEC }, req, options), "msg_p5jXN8AQM9LWM0D4loKWxJek")

  local function refused_with(words, secret, changes, more)
    local changed = { headers = {}, body = changes.body or req.body }
    for name, value in pairs(headers) do changed.headers[name] = value end
    for name, value in pairs(changes) do changed.headers["webhook-" .. name] = value or nil end
    local id, why, code = webhook.verify(secret, changed, more or options)
    check.equal({ id or false, code }, { false, "unauthorized" })
    check.has(why, words)
  end
  refused_with("signature is wrong", other, {})
  refused_with("signature is wrong", WHSEC, { body = '{"test": 2432232315}' })
  refused_with("signature is wrong", WHSEC, { id = "msg_2" })
  refused_with("signature is wrong", WHSEC, { timestamp = "1614265331" })
  refused_with("signature is wrong", WHSEC, { signature = headers["webhook-signature"]:gsub("v1,", "v2,") })
  refused_with("has the headers", WHSEC, { signature = false })
  refused_with("no number of seconds", WHSEC, { timestamp = "0x10" })
  refused_with("too old, or from the future", WHSEC, {}, { now = 1614265631 })
  refused_with("too old, or from the future", WHSEC, {}, { now = 1614265029 })
  refused_with("too old, or from the future", WHSEC, {}, {})
end)

test("webhook_several_signatures_may_stand_in_a_header", function()
  local headers = webhook.sign(WHSEC, "{}")
  headers["webhook-signature"] = "v1a,AAAA v1,AAAA " .. headers["webhook-signature"]
  check.equal(webhook.verify(WHSEC, { headers = headers, body = "{}" }), headers["webhook-id"])
  headers["webhook-signature"] = ("v1,AAAA "):rep(16) .. headers["webhook-signature"]
  check.equal((webhook.verify(WHSEC, { headers = headers, body = "{}" })), nil)
  check.raises("whsec_ and the base64", webhook.sign, "secret", "{}")
  check.raises("whsec_ and the base64", webhook.sign, "whsec_AAAA", "{}")
  check.raises("needs 1 to 8 secrets", webhook.verify, {}, { headers = {}, body = "" })
  check.raises("without blanks and dots", webhook.sign, WHSEC, "{}", { id = "a.b" })
end)
