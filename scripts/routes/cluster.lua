--- /v1/cluster (leader, followers and their lag), /healthz and /readyz.
local core = require "lignum.core"
local http = require "lignum.http"
local roster = require "lignum.roster"
local route = require "lignum.route"

local json = core.json

local M = {}

local function url(address)
  return address and "http://" .. address or json.null
end

local function nodes_of(status)
  local synced, followers, nodes = {}, {}, json.array {}
  for _, name in ipairs(roster.synced(status)) do synced[name] = true end
  for _, f in ipairs(status.followers) do followers[f.name] = f end
  for i, n in ipairs(roster.nodes(status)) do
    local node = { name = n.name, http = url(n.http), role = n.role, in_set = synced[n.name] == true }
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

-- Why the state of the cluster keeps this node from serving, or nil.
local function problem_of(status)
  if status.role == "alone" then return nil end
  if status.regressed then
    return "Consul went back to an older state than this node has seen, or lost its state; if the newer state is lost "
      .. "for good, run cluster.adopt() on the node that shall lead", "set_regressed"
  end
  if status.role == "leader" then
    return status.suspended and "this node leads, but cannot confirm that with Consul" or nil, "unconfirmed"
  end
  if status.leader and status.connected then return nil end
  if status.leader then return "this node is not connected to its leader, " .. status.leader.name, "unavailable" end
  return "there is no leader" .. (status.why and "; this node does not try to lead: " .. status.why or ""), "no_leader"
end

---`GET /readyz`: whether this node can serve, and the reason when not.
function M.ready()
  local ready, why = core.node.ready()
  if not ready then return http.fail("unavailable", why) end
  local problem, code = problem_of(roster.status())
  if problem then return http.fail(code, problem) end
  return 200, "ready\n"
end

route.get("/healthz", M.health)
route.get("/readyz", M.ready)
route.get("/v1/cluster", M.get)

return M
