--- lignum cluster: who leads and how far the others are; and the operator's way out of a lost register.
local json = require "lignum.core".json
local remote = require "lignum.remote"
local shell = require "lignum.shell"
local system = require "lignum.system"

local COLUMNS <const> = {
  { "NODE", "name" }, { "ROLE", "role" }, { "IN SET", "in_set" }, { "LAG", "lag" }, { "LAG BYTES", "lag_bytes" },
  { "LAG S", "lag_seconds" }, { "HTTP", "http" },
}

local function status(_, flags, node)
  local cluster = node:json("GET", remote.path { "cluster" })
  if flags.json_out then return shell.json(cluster) end
  local leader = cluster.leader ~= json.null and cluster.leader.name or "nobody"
  shell.out(("%s is %s; %s leads in epoch %d\n"):format(cluster.self,
    cluster.role == "alone" and "a node without a cluster" or cluster.role, leader, cluster.epoch))
  shell.rows(COLUMNS, cluster.nodes)
end

local function adopt(_, flags, node)
  if not flags.yes then
    if not system.terminal(0) then shell.fail(64, "without a terminal, --yes is needed") end
    if not shell.confirm(("let all nodes follow what %s holds, and set aside what only others have?"):format(
        node:url())) then
      shell.fail(1, "nothing has changed")
    end
  end
  node:request("POST", remote.path { "cluster", "adopt" })
end

return {
  summary = "the nodes of a cluster", remote = true,
  verbs = {
    { name = "status", summary = "who leads, and how far the others are", usage = "", args = { 0, 0 }, run = status },
    { name = "adopt", summary = "makes Consul's register this node's own, when it is lost or another cluster's",
      usage = "", args = { 0, 0 }, run = adopt, flags = { { "--yes", nil, "does not ask" } } },
  },
}
