--- The nodes of the cluster as far as this node knows, for routes, hooks and metrics.
local core = require "lignum.core"

local cluster = core.cluster

local M = {
  -- Of the core's world, which talks to Consul:
  seen = nil,        ---@type lignum.View?   what Consul's keys last said
  consul = nil,      ---@type lignum.Consul?
  role = "alone",    -- this node's last known role
  fingerprint = nil, ---@type string?   of this node's configuration (fingerprint.lua)
}

local COMMAND <const> = 60           -- seconds for a command to the cluster

---The beginning of URLs of a node.
---@param address string   "host:port" or "https://host:port", as nodes tell it
---@return string
function M.url(address)
  return address:find("^https://") and address or "http://" .. address
end

-- The operator's commands, which the core's world executes. It has its own (duties.lua).
function M.adopt() return core.ask(COMMAND, "adopt") end
function M.claim_unclean() return core.ask(COMMAND, "claim_unclean") end

---@class lignum.Known
---@field http string
---@field member string
---@field config string?    as lignum.Entry

---What only the core's world knows, as plain values.
---@return { nodes: table<string, lignum.Known>, requests: integer, config: string? }
function M.known()
  if core.world ~= "core" then return core.call("roster") end
  local nodes = {}
  for name, entry in pairs(M.seen and M.seen.nodes or {}) do
    nodes[name] = { http = entry.http, member = entry.member, config = entry.config }
  end
  return { nodes = nodes, requests = M.consul and M.consul.requests or 0, config = M.fingerprint }
end

---cluster.status(), or the same for a node without a cluster.
---@return lignum.ClusterStatus
function M.status()
  if cluster then return cluster.status() end
  local info = core.node.info()
  local me = { member = info.name .. ":" .. info.incarnation, name = info.name, http = info.advertise }
  return {
    self = me, cluster = info.cluster, role = "alone", epoch = info.epoch, leader = me, followers = {}, eligible = true,
    full = info.full,
  }
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
  if status.leader then
    local why = status.problem and ": " .. status.problem or ""
    return "this node is not connected to its leader, " .. status.leader.name .. why, "unavailable"
  end
  return "there is no leader" .. (status.why and "; this node does not try to lead: " .. status.why or ""), "no_leader"
end

---Why this node cannot serve.
---@return string? problem   nil: it can
---@return string? code
function M.problem()
  local ready, why = core.node.ready()
  if not ready then return why, "unavailable" end
  local status = M.status()
  local problem, code = problem_of(status)
  if not problem and status.full then
    return "the disk is full: this node serves reads, and stores nothing", "no_space"
  end
  return problem, code
end

---The number of requests that this node has sent to Consul.
---@return integer
function M.requests()
  return M.known().requests
end

---The names of the synced set's members, sorted.
---@param status lignum.ClusterStatus
---@return string[]
function M.synced(status)
  local names = {}
  for i, member in ipairs(status.register and status.register.members or { status.self.member }) do
    names[i] = member:match("^(.*):")
  end
  table.sort(names)
  return names
end

---All nodes of the cluster sorted by name, this one included.
---@param status lignum.ClusterStatus
---@return { name: string, http: string, role: string, member: string, config: string? }[]
function M.nodes(status)
  local me, leader, known = status.self, status.leader and status.leader.member, M.known()
  local nodes = { { name = me.name, http = me.http, member = me.member, role = status.role, config = known.config } }
  for name, entry in pairs(known.nodes) do
    if name ~= me.name then
      local role = entry.member == leader and "leader" or "follower"
      nodes[#nodes + 1] = {
        name = name, http = entry.http, member = entry.member, role = role, config = entry.config,
      }
    end
  end
  table.sort(nodes, function(a, b) return a.name < b.name end)
  return nodes
end

---Nodes that have loaded another configuration than this one. A node that does not say what it has is none.
---@param status lignum.ClusterStatus
---@return string[] names
function M.otherwise_configured(status)
  local names, nodes, own = {}, M.nodes(status), nil
  for _, n in ipairs(nodes) do
    if n.name == status.self.name then own = n.config end
  end
  for _, n in ipairs(nodes) do
    if own and n.config and n.config ~= own then names[#names + 1] = n.name end
  end
  return names
end

---The argument of the hook may_lead and of replication functions.
---@return lignum.ClusterState
function M.state()
  local status = M.status()
  return {
    name = status.self.name, role = status.role, epoch = status.epoch, leader = status.leader and status.leader.name,
    synced = M.synced(status), nodes = M.nodes(status), followers = status.followers, position = status.position,
  }
end

return M
