--- GET /: sends browsers to the web console, and tells other clients where things are.
local http = require "lignum.http"
local route = require "lignum.route"

local M = {}

local INDEX = {
  service = "lignum", api = "/v1", topics = "/v1/topics", health = "/v1/health",
  openapi = "/openapi.json", live = "/healthz", ready = "/readyz", metrics = "/metrics",
}
local HTML <const>, JSON <const> = "text/html", "application/json"
local PREFERRED = { JSON, HTML }

---`GET /`
---@param req lignum.Request
function M.get(req)
  if INDEX.console and http.accepts(req:header("accept"), PREFERRED) == HTML then
    return 303, nil, { Location = INDEX.console, Vary = "Accept" }
  end
  return 200, INDEX, { ["Content-Type"] = JSON, Vary = "Accept" }
end

---Declares the route, unless lignum.lua has it.
---@param console string?   the path of the web console
function M.declare(console)
  INDEX.console = console
  if not route.has("GET", "/") then route.declare("GET", "/", M.get, "index", { action = "observe", open = true }) end
end

return M
