--- /v1/tokens: makes, lists and revokes access tokens (doc/http.md, "Access").
local access = require "lignum.access"
local core = require "lignum.core"
local forward = require "lignum.forward"
local http = require "lignum.http"
local route = require "lignum.route"

local M = {}

local NEW <const> = { name = "string", topics = "any", may = "any", expires = "any?" }

---`GET /v1/tokens`
function M.list()
  return 200, { tokens = access.list() }
end

---`POST /v1/tokens`: makes one. The answer is the only place where its secret is.
---@param req lignum.Request
function M.post(req)
  local body, why, code, more = req:json(NEW)
  if not body then return http.fail(code, why, more) end
  local secret
  secret, why, code = access.add(body.name, { topics = body.topics, may = body.may, expires = body.expires })
  if not secret then return http.fail(code, why) end
  for _, token in ipairs(access.list()) do
    if token.name == body.name then
      token.secret = secret
      return 201, token, { Location = "/v1/tokens/" .. body.name, ["Cache-Control"] = "no-store" }
    end
  end
  return http.fail("unknown_token", "the token was revoked at once")
end

---`DELETE /v1/tokens/{token}`: revokes it.
---@param req lignum.Request
function M.delete(req)
  local ok, why, code = access.revoke(core.Request.param(req, "token"))
  if not ok then return http.fail(code, why) end
  return 204
end

local ADMIN <const> = {
  action = "admin", all = true,
  about = function(req)
    local body = req:json()
    return body and type(body.name) == "string" and "token " .. body.name or nil
  end,
}

route.get("/v1/tokens", M.list, ADMIN)
route.post("/v1/tokens", forward.write(M.post), ADMIN)
route.delete("/v1/tokens/{token}", forward.write(M.delete), ADMIN)

return M
