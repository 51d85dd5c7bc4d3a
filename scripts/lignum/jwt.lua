--- JSON Web Tokens (RFC 7519), as api.lua describes them.
---
--- The type of a key determines which algorithms it checks: a secret only HS..., a public key only those of its type.
--- No key checks a token that names another algorithm (RFC 8725, section 2.1).
local core = require "lignum.core"
local near = require "lignum.near"

local crypto, json = core.crypto, core.json

local M = {}

local KEYS_MAX <const> = 64            -- of one set
local SETS_MAX <const> = 16            -- URLs of sets
local FRESH <const> = 300              -- seconds for which a fetched set is used without asking again
local STALE <const> = 3600             -- and for which it is used when asking again fails
local PAUSE <const> = 10               -- seconds between two requests for a set
local PATIENCE <const> = 5             -- seconds that one request may take

local HMACS <const> = { HS256 = "sha256", HS384 = "sha384", HS512 = "sha512" }
local SECRET_MIN <const> = { HS256 = 32, HS384 = 48, HS512 = 64 }      -- bytes; RFC 7518, section 3.2
local SIGNATURES <const> = {
  EdDSA = true, ES256 = true, ES384 = true, ES512 = true, RS256 = true, RS384 = true, RS512 = true, PS256 = true,
  PS384 = true, PS512 = true,
}
local OPTIONS <const> = {
  algorithms = "table", audience = "string or table", issuer = "string or table", leeway = "number",
  eternal = "boolean", type = "string", now = "number",
}

local function refuse(why, ...)
  return nil, why:format(...), "unauthorized"
end

-- Keys -----------------------------------------------------------------------------------------

---@class lignum.JwtKey
---@field key? lignum.Key
---@field secret? string
---@field kid? string
---@field alg? string

-- A JSON Web Key; nil and why, if it cannot check tokens.
local function read_jwk(jwk)
  if type(jwk) ~= "table" then return nil, "not an object" end
  if jwk.use ~= nil and jwk.use ~= "sig" then return nil, "not for signatures" end
  local entry = { kid = jwk.kid, alg = jwk.alg }
  if jwk.kty == "oct" then
    entry.secret = type(jwk.k) == "string" and crypto.decode(jwk.k, "base64url")
    if not entry.secret then return nil, "k is not base64url" end
    return entry
  end
  for _, name in ipairs { "kty", "crv", "n", "e", "x", "y", "d" } do
    if jwk[name] ~= nil and type(jwk[name]) ~= "string" then return nil, name .. " is not a string" end
  end
  local why
  entry.key, why = crypto.key(jwk)
  return entry.key and entry, why
end

-- The usable keys of a set; those of other kinds are left out, as RFC 7517, section 5, wants.
local function read_set(list)
  local entries, last = {}, "it is empty"
  for i, jwk in ipairs(list) do
    if i > KEYS_MAX then return nil, ("the set has more than %d keys"):format(KEYS_MAX) end
    local entry, why = read_jwk(jwk)
    entries[#entries + 1] = entry
    last = why or last
  end
  if #entries == 0 then return nil, "the set has no key that can be used: " .. last end
  return entries
end

local known = setmetatable({}, { __mode = "k" })       -- [table of keys] = its entries

local function read_keys(keys, level)
  if type(keys) == "userdata" then return { { key = keys } } end
  if type(keys) == "string" then
    if keys:find("-----BEGIN", 1, true) then error("jwt: a PEM text is no secret; use crypto.key(text)", level + 1) end
    return { { secret = keys } }
  end
  if type(keys) ~= "table" then error("jwt: keys must be a key, a secret or a table of keys", level + 1) end
  if known[keys] then return known[keys] end
  local entries, why = read_set(keys.keys or keys.kty and { keys } or {})
  if keys[1] then
    entries = {}
    for _, one in ipairs(keys) do
      table.move(read_keys(one, level + 1), 1, KEYS_MAX, #entries + 1, entries)
    end
  end
  if not entries then error("jwt: " .. why, level + 1) end
  known[keys] = entries
  return entries
end

-- Sets from a URL ------------------------------------------------------------------------------

local sets, set_count = {}, 0          -- [url] = { entries =, at =, tried =, busy =, why = }

local function set_of(url, level)
  local set = sets[url]
  if set then return set end
  local host = url:match("^http://(%[?[%w.:]-%]?):%d+/") or url:match("^http://([%w.]+)/")
  if not url:find("^https://") and host ~= "127.0.0.1" and host ~= "[::1]" and host ~= "localhost" then
    error("jwt: keys.url must begin with https://", level + 1)
  end
  if set_count == SETS_MAX then error(("jwt: more than %d sets"):format(SETS_MAX), level + 1) end
  set = { at = -math.huge, tried = -math.huge }
  sets[url], set_count = set, set_count + 1
  return set
end

local function refresh(set, source)
  local idle <close> = setmetatable({}, { __close = function() set.busy = false end })    -- luacheck: ignore 211
  set.busy, set.tried = true, core.time.clock()
  local answer, why = core.fetch { url = source.url, ca = source.ca, timeout = PATIENCE, redirects = 2 }
  if answer and answer.status ~= 200 then answer, why = nil, "the answer is " .. answer.status end
  local value = answer and json.decode(answer.body)
  local list = type(value) == "table" and value.keys
  local entries
  if type(list) == "table" then
    entries, why = read_set(list)
  elseif answer then
    why = "the answer is no JSON Web Key Set"
  end
  set.why = why
  if entries then set.entries, set.at = entries, core.time.clock() end
end

-- The entries of a set. `missing`: the entries that are known lack the key of a token; it may be new.
local function fetched(source, missing, level)
  local set, began = set_of(source.url, level + 1), core.time.clock()
  local due = began - set.at > FRESH or missing
  if due and not set.busy and (began - set.tried >= PAUSE) then refresh(set, source) end
  while set.busy and (missing or not set.entries) and core.time.clock() - began < PATIENCE do core.sleep(0.02) end
  if set.entries and core.time.clock() - set.at <= STALE then return set.entries end
  return nil, ("cannot get the keys of %s: %s"):format(source.url, set.why or "no answer in time"), "unavailable"
end

-- Checking -------------------------------------------------------------------------------------

local function check_options(options)
  for name, value in pairs(options) do
    local kinds = OPTIONS[name]
    if not kinds then
      error(("jwt.verify: there is no option %s%s"):format(tostring(name), near.hint(name, near.names(OPTIONS))), 3)
    end
    if not kinds:find(type(value), 1, true) then
      error(("jwt.verify: %s must be a %s, not a %s"):format(name, kinds, type(value)), 3)
    end
  end
end

local function contains(list, value)
  if type(list) ~= "table" then return list == value end
  for _, one in ipairs(list) do
    if one == value then return true end
  end
  return false
end

local function object(part)
  local text = crypto.decode(part, "base64url")
  local value = text and text:find("^%s*{") and json.decode(text)
  return type(value) == "table" and value or nil
end

local function is_signed(entry, algorithm, signed, signature)
  if entry.key then return entry.key:verify(algorithm, signed, signature) end
  return crypto.equal(crypto.hmac(HMACS[algorithm], entry.secret, signed), signature)
end

-- Whether one of the keys has signed the token. Second result: whether any is of the token's algorithm and id.
local function has_signed(entries, header, signed, signature)
  local candidates, algorithm = 0, header.alg
  for _, entry in ipairs(entries) do
    local kind = entry.key and SIGNATURES or HMACS
    if kind[algorithm] and contains(entry.alg or algorithm, algorithm)
      and (header.kid == nil or entry.kid == nil or entry.kid == header.kid) then
      if entry.secret and #entry.secret < SECRET_MIN[algorithm] then
        return false, true, ("a secret for %s must have at least %d bytes"):format(algorithm, SECRET_MIN[algorithm])
      end
      candidates = candidates + 1
      if is_signed(entry, algorithm, signed, signature) then return true end
    end
  end
  return false, candidates > 0
end

local function check_signature(header, keys, signed, signature)
  local remote = type(keys) == "table" and keys.url ~= nil
  local entries, why, code
  if remote then
    entries, why, code = fetched(keys, false, 3)
    if not entries then return nil, why, code end
  else
    entries = read_keys(keys, 3)
  end
  local right, candidates, problem = has_signed(entries, header, signed, signature)
  if not right and not candidates and remote then
    entries, why, code = fetched(keys, true, 3)
    if not entries then return nil, why, code end
    right, candidates, problem = has_signed(entries, header, signed, signature)
  end
  if right then return true end
  if problem then return refuse(problem) end
  return refuse(candidates and "the token's signature is wrong" or "no key is for this token")
end

local function check_times(claims, options)
  local now, leeway = options.now or core.now(), options.leeway or 0
  for _, name in ipairs { "exp", "nbf", "iat" } do
    if claims[name] ~= nil and not math.type(claims[name]) then return refuse("the token's %s is no number", name) end
  end
  if not claims.exp and not options.eternal then return refuse("the token has no exp: it would be valid for ever") end
  if claims.exp and now >= claims.exp + leeway then return refuse("the token has expired") end
  if claims.nbf and now < claims.nbf - leeway then return refuse("the token is not valid yet") end
  return true
end

local function check_parties(claims, options)
  if options.issuer and (type(claims.iss) ~= "string" or not contains(options.issuer, claims.iss)) then
    return refuse("the token is from another issuer")
  end
  if claims.aud == nil and not options.audience then return true end
  for _, one in ipairs(type(claims.aud) == "table" and claims.aud or { claims.aud }) do
    if options.audience and type(one) == "string" and contains(options.audience, one) then return true end
  end
  return refuse("the token is for another audience")
end

---@param token string?
---@param keys any
---@param options? table
function M.verify(token, keys, options)
  options = options or {}
  check_options(options)
  if type(token) ~= "string" then return refuse("there is no token") end
  if #token > core.limits.http_head_max then return refuse("the token is too long") end
  token = token:gsub("^[Bb][Ee][Aa][Rr][Ee][Rr] +", "")
  local head, body, signature = token:match("^([%w_-]+)%.([%w_-]+)%.([%w_-]*)$")
  local header = head and object(head)
  local bytes = signature and crypto.decode(signature, "base64url")
  if not header or not bytes then return refuse("not a signed JSON Web Token") end
  if not (HMACS[header.alg] or SIGNATURES[header.alg])
    or options.algorithms and not contains(options.algorithms, header.alg) then
    return refuse("the token's algorithm is not accepted")
  end
  if header.crit ~= nil then return refuse("the token has critical extensions, which are not supported") end
  if options.type and header.typ ~= options.type then return refuse("the token is of another type") end
  local right, why, code = check_signature(header, keys, head .. "." .. body, bytes)
  if not right then return nil, why, code end
  local claims = object(body)
  if not claims then return refuse("the token's claims are no JSON object") end
  right, why, code = check_times(claims, options)
  if right then right, why, code = check_parties(claims, options) end
  if not right then return nil, why, code end
  return claims
end

---@param claims table
---@param key lignum.Key|string
---@param algorithm string
---@param kid? string
function M.sign(claims, key, algorithm, kid)
  local is_secret = type(key) == "string"
  if is_secret and not HMACS[algorithm] or not is_secret and not SIGNATURES[algorithm] then
    error(("jwt.sign: %s cannot be made with this key"):format(tostring(algorithm)), 2)
  end
  if is_secret and #key < SECRET_MIN[algorithm] then
    error(("jwt.sign: a secret for %s must have at least %d bytes"):format(algorithm, SECRET_MIN[algorithm]), 2)
  end
  local function part(value) return crypto.encode(json.encode(value), "base64url") end
  local signed = part { alg = algorithm, typ = "JWT", kid = kid } .. "." .. part(claims)
  local signature = is_secret and crypto.hmac(HMACS[algorithm], key, signed) or key:sign(algorithm, signed)
  return signed .. "." .. crypto.encode(signature, "base64url")
end

return M
