--- /v1/tokens: makes, lists and revokes access tokens (doc/http.md, "Access").
local access = require "lignum.access"
local console = require "routes.console"
local core = require "lignum.core"
local forward = require "lignum.forward"
local http = require "lignum.http"
local modules = require "lignum.modules"
local route = require "lignum.route"

local json = core.json

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

local ACTIONS <const> = { "read", "publish", "consume", "admin", "observe", "own" }

---`GET /v1/me`: who this node takes the request for, and what that one may do.
---@param req lignum.Request
function M.me(req)
  local me = {
    token = req.token or json.null, user = req.user or json.null, topics = json.array { "*" },
    may = json.array(modules.copy(ACTIONS)), console = false,
  }
  for _, token in ipairs(req.token and access.list() or {}) do
    if token.name == req.token then me.topics, me.may, me.expires = token.topics, token.may, token.expires end
  end
  local everything = { topics = {}, may = {} }
  for _, pattern in ipairs(me.topics) do everything.topics[pattern] = true end
  for _, action in ipairs(me.may) do everything.may[action] = true end
  me.console = everything.topics["*"] and everything.may.admin and console.may_run(req) or false
  return 200, me
end

local ADMIN <const> = {
  action = "admin", all = true,
  about = function(req)
    local body = req:json()
    return body and type(body.name) == "string" and "token " .. body.name or nil
  end,
}

route.get("/v1/me", M.me, { action = "any" })
route.get("/v1/tokens", M.list, ADMIN)
route.post("/v1/tokens", forward.write(M.post), ADMIN)
route.delete("/v1/tokens/{token}", forward.write(M.delete), ADMIN)

return M
