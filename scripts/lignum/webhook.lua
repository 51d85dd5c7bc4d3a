--- Webhooks signed as Standard Webhooks (standardwebhooks.com) specifies: HMAC-SHA-256 of "id.time.body".
local core = require "lignum.core"

local crypto = core.crypto

local M = {}

local TOLERANCE <const> = 300          -- seconds between the sender's clock and ours
local SECRETS_MAX <const> = 8          -- a sender has two while it changes its secret
local SIGNATURES_MAX <const> = 16      -- in one header
local SECRET_MIN <const>, SECRET_MAX <const> = 24, 64

-- The bytes of "whsec_BASE64".
local function read_secret(text, level)
  local bytes = type(text) == "string" and crypto.decode(text:match("^whsec_(.*)$") or "!", "base64")
  if not bytes or #bytes < SECRET_MIN or #bytes > SECRET_MAX then
    error(("webhook: a secret must be whsec_ and the base64 of %d to %d bytes"):format(SECRET_MIN, SECRET_MAX),
      level + 1)
  end
  return bytes
end

local function refuse(why)
  return nil, why, "unauthorized"
end

local function mac(secret, id, time, body)
  return crypto.encode(crypto.hmac("sha256", secret, ("%s.%s."):format(id, time) .. body), "base64")
end

---@param secret string
---@param body string
---@param options? { id?: string, time?: integer }
function M.sign(secret, body, options)
  local bytes = read_secret(secret, 2)
  if type(body) ~= "string" then error("webhook.sign: body must be a string", 2) end
  local id = options and options.id or "msg_" .. crypto.encode(crypto.random(18), "base64url")
  local time = math.tointeger(options and options.time or math.floor(core.now()))
  if type(id) ~= "string" or id == "" or id:find("[%s.]") then
    error("webhook.sign: id must be a text without blanks and dots", 2)
  end
  if not time then error("webhook.sign: time must be a whole number of seconds", 2) end
  return {
    ["webhook-id"] = id, ["webhook-timestamp"] = ("%d"):format(time),
    ["webhook-signature"] = "v1," .. mac(bytes, id, time, body),
  }
end

-- Whether one of the signatures in a header is right for one of the secrets.
local function is_signed(secrets, id, time, body, header)
  local wanted, right, count = {}, false, 0
  for i, secret in ipairs(secrets) do wanted[i] = mac(secret, id, time, body) end
  for version, signature in header:gmatch("(%w+),(%S+)") do
    count = count + 1
    if count > SIGNATURES_MAX then return false end
    for _, one in ipairs(wanted) do
      if version == "v1" and crypto.equal(one, signature) then right = true end
    end
  end
  return right
end

---@param secret string|string[]
---@param req { headers: table<string, string>, body: string }
---@param options? { tolerance?: number, now?: number }
function M.verify(secret, req, options)
  local secrets = {}
  for i, text in ipairs(type(secret) == "table" and secret or { secret }) do secrets[i] = read_secret(text, 2) end
  if #secrets == 0 or #secrets > SECRETS_MAX then
    error(("webhook.verify: needs 1 to %d secrets"):format(SECRETS_MAX), 2)
  end
  local id, time = req.headers["webhook-id"], req.headers["webhook-timestamp"]
  local header = req.headers["webhook-signature"]
  if not (id and time and header) then
    return refuse("a webhook has the headers webhook-id, webhook-timestamp and webhook-signature")
  end
  if not time:find("^%d+$") or #time > 12 then return refuse("webhook-timestamp is no number of seconds") end
  if not is_signed(secrets, id, time, req.body, header) then return refuse("the webhook's signature is wrong") end
  local now, tolerance = options and options.now or core.now(), options and options.tolerance or TOLERANCE
  if math.abs(now - tonumber(time)) > tolerance then return refuse("the webhook is too old, or from the future") end
  return id
end

return M
