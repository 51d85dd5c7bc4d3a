--- Is it alive, is it ready, who leads.
local core = require "lignum.core"
local http = require "lignum.http"
local route = require "lignum.route"

local M = {}

---`GET /healthz`: the process runs and answers.
function M.health()
  return 200, "ok\n"
end

---`GET /readyz`: it can serve; with the reason when not.
function M.ready()
  local ready, why = core.node.ready()
  if not ready then return http.fail("unavailable", why) end
  return 200, "ready\n"
end

---`GET /v1/cluster`. A node of its own leads itself.
function M.cluster()
  local info = core.node.info()
  local address = "http://" .. info.advertise
  return 200, {
    self = info.name,
    role = info.role,
    epoch = info.epoch,
    leader = { name = info.name, http = address },
    synced = core.json.array { info.name },
    nodes = core.json.array { { name = info.name, http = address, role = info.role, lag = 0 } },
  }
end

route.get("/healthz", M.health)
route.get("/readyz", M.ready)
route.get("/v1/cluster", M.cluster)

return M
