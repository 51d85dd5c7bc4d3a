--- /v1/stats: the counters of this node and what it sees of its cluster, once or as server-sent events.
local cluster = require "routes.cluster"
local core = require "lignum.core"
local health = require "routes.health"
local http = require "lignum.http"
local route = require "lignum.route"
local stream = require "lignum.stream"

local M = {}

local EVENTS <const>, JSON <const> = "text/event-stream", "application/json"
local PRODUCED = { JSON, EVENTS }
local EVERY <const>, EVERY_MAX <const> = 2, 60     -- seconds between two events

local function state()
  local s, info = core.node.stats(0), core.node.info()
  local of_cluster = select(2, cluster.get())
  local own = select(2, health.get())
  return {
    time = core.time.format(core.now()), node = info.name, version = info.version, role = info.role, epoch = info.epoch,
    uptime = info.uptime, leader = own.leader, nodes = of_cluster.nodes, synced = of_cluster.synced,
    health = { status = own.status, problems = own.problems }, topics = s.topics_count, groups = #core.group.list(),
    log = {
      appended_messages = s.totals.appended_messages, appended_bytes = s.totals.appended_bytes,
      read_messages = s.totals.read_messages, read_bytes = s.totals.read_bytes,
    },
    http = {
      requests = s.http.requests, in_flight = s.http.in_flight, connections = s.http.connections,
      bytes_in = s.http.bytes_in, bytes_out = s.http.bytes_out,
    },
    store = {
      disk_free = s.store.disk_free, disk_size = s.store.disk_size, written_bytes = s.store.written_bytes,
      syncs = s.store.sync.count, sync_seconds = s.store.sync.sum,
    },
    scripts = {
      memory = s.vm.memory, memory_max = s.vm.memory_max, tasks = s.vm.tasks_live, failed = s.vm.tasks_failed,
    },
    process = { cpu = s.process.cpu, rss = s.process.rss, fds = s.process.fds, fds_max = s.process.fds_max },
  }
end

local function events(every)
  return function(write)
    while write("data: " .. core.json.encode(state()) .. "\n\n") do
      if not pcall(core.sleep, every) then return end      -- this node stops
    end
  end
end

---`GET /v1/stats`
---@param req lignum.Request
function M.get(req)
  local query, why, code = http.query(req, { every = true })
  if not query then return http.fail(code, why) end
  local every
  every, why, code = http.integer(query.every, "every", 1, EVERY_MAX)
  if why then return http.fail(code, why) end
  local kind = http.accepts(req:header("accept"), PRODUCED)
  if kind == JSON then return 200, state() end
  if not kind then return http.fail("not_acceptable", "stats are available as " .. table.concat(PRODUCED, ", ")) end
  return 200, req.method == "HEAD" and "" or events(every or EVERY), stream.HEADERS
end

route.get("/v1/stats", M.get, { action = "observe", all = true })

return M
