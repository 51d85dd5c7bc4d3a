--- /v1/cluster (leader, followers and their lag), /healthz and /readyz.
local core = require "lignum.core"
local http = require "lignum.http"
local roster = require "lignum.roster"
local route = require "lignum.route"

local json = core.json

local M = {}

local function url(address)
  return address and roster.url(address) or json.null
end

local function nodes_of(status)
  local synced, followers, nodes = {}, {}, json.array {}
  for _, name in ipairs(roster.synced(status)) do synced[name] = true end
  for _, f in ipairs(status.followers) do followers[f.name] = f end
  for i, n in ipairs(roster.nodes(status)) do
    local node = {
      name = n.name, http = url(n.http), role = n.role, in_set = synced[n.name] == true, config = n.config,
    }
    if n.role ~= "follower" then node.lag = 0 end
    local f = followers[n.name]
    if f then
      node.lag, node.lag_bytes, node.lag_seconds = f.lag_messages, f.lag_bytes, f.lag_seconds
      node.connected = f.connected
    end
    if n.name == status.self.name and status.role == "follower" then
      node.connected, node.staleness = status.connected, status.staleness
    end
    nodes[i] = node
  end
  return nodes
end

---`GET /v1/cluster`. A node without a cluster is its own leader.
function M.get()
  local status = roster.status()
  local leader = status.leader
  return 200, {
    self = status.self.name, role = status.role, epoch = status.epoch, cluster = status.cluster,
    leader = leader and { name = leader.name, http = url(leader.http) } or json.null,
    synced = json.array(roster.synced(status)),
    nodes = nodes_of(status),
  }
end

---`GET /healthz`: answers as long as the process runs.
function M.health()
  return 200, "ok\n"
end

---`GET /readyz`: whether this node can serve, and the reason when not.
function M.ready()
  local problem, code = roster.problem()
  if problem then return http.fail(code, problem) end
  return 200, "ready\n"
end

route.get("/healthz", M.health, { action = "observe" })
route.get("/readyz", M.ready, { action = "observe" })
route.get("/v1/cluster", M.get, { action = "observe" })

return M
