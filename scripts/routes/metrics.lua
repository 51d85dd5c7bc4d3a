--- /metrics: the counters of all layers in Prometheus' text format.
local canary = require "lignum.canary"
local core = require "lignum.core"
local roster = require "lignum.roster"
local route = require "lignum.route"

local format = string.format

local M = {}

-- A limited number of topics get series of their own, to bound the size of a scrape.
local TOPICS_SHOWN <const> = 1000
local GROUPS_SHOWN <const> = 200

-- 14 digits hold a time in seconds since 1970 to a millisecond and better.
local function number(n)
  return math.type(n) == "integer" and format("%d", n) or format("%.14g", n)
end

local function label(text)
  return text:gsub("\\", "\\\\"):gsub('"', '\\"'):gsub("\n", "\\n") .. ""
end

---A page, as a list of texts.
local Page = {}
Page.__index = Page

-- Begins a metric family: its name without `lignum_`, its type and its help text.
function Page:family(name, kind, help)
  self.name = "lignum_" .. name
  self:add("# HELP %s %s\n# TYPE %s %s\n", self.name, help, self.name, kind)
end

function Page:add(text, ...)
  self[#self + 1] = format(text, ...)
end

-- Adds one sample of the family. Labels, if any, are `name="value"`.
function Page:sample(value, labels)
  self:add("%s%s %s\n", self.name, labels and "{" .. labels .. "}" or "", number(value))
end

function Page:one(name, kind, help, value)
  self:family(name, kind, help)
  self:sample(value)
end

function Page:histogram(hist, labels)
  local comma = labels and labels .. "," or ""
  for _, bucket in ipairs(hist.buckets) do
    self:add('%s_bucket{%sle="%s"} %d\n', self.name, comma, number(bucket.le), bucket.count)
  end
  local braces = labels and "{" .. labels .. "}" or ""
  self:add('%s_bucket{%sle="+Inf"} %d\n', self.name, comma, hist.count)
  self:add("%s_sum%s %s\n", self.name, braces, number(hist.sum))
  self:add("%s_count%s %d\n", self.name, braces, hist.count)
end

local function add_node(page)
  local info = core.node.info()
  page:family("build_info", "gauge", "The version of this node.")
  page:sample(1, format('version="%s"', label(info.version)))
  page:one("ready", "gauge", "1 when the node is ready to serve.", roster.problem() and 0 or 1)
  page:one("epoch", "gauge", "The epoch of this node's leader.", info.epoch)
end

local function sample_of(value)
  if type(value) == "boolean" then return value and 1 or 0 end
  return value
end

local function add_followers(page, followers)
  local function each(name, kind, help, field)
    page:family(name, kind, help)
    for _, f in ipairs(followers) do
      page:sample(sample_of(f[field]) or 0, format('follower="%s"', label(f.name)))
    end
  end
  each("follower_connected", "gauge", "1 when the follower is connected to this leader.", "connected")
  each("follower_in_set", "gauge", "1 when the follower counts in the synced set.", "in_set")
  each("follower_lag_messages", "gauge", "Messages that the follower has not acknowledged yet.", "lag_messages")
  each("follower_lag_bytes", "gauge", "Bytes of messages that the follower has not acknowledged yet.", "lag_bytes")
  each("follower_lag_seconds", "gauge", "Seconds since the follower last had all messages.", "lag_seconds")
end

local function add_cluster(page)
  local status = roster.status()
  page:family("role", "gauge", "1 for the role of this node in its cluster.")
  page:sample(1, format('role="%s"', status.role))
  page:one("leader_known", "gauge", "1 when this node knows the leader.", status.leader and 1 or 0)
  page:one("leader_suspended", "gauge", "1 when this leader cannot confirm its claim with Consul.",
    status.suspended and 1 or 0)
  page:one("register_regressed", "gauge", "1 when Consul's register is older than one that this node has seen.",
    status.regressed and 1 or 0)
  page:one("synced_nodes", "gauge", "Members of the synced set.", #roster.synced(status))
  page:one("nodes", "gauge", "Nodes of the cluster.", #roster.nodes(status))
  page:one("nodes_config_differs", "gauge", "Nodes that have loaded another lignum.lua than this one.",
    #roster.otherwise_configured(status))
  page:one("elections_total", "counter", "Elections won by this node since its start.", status.elections or 0)
  page:one("consul_requests_total", "counter", "Requests to Consul.", roster.requests())
  page:one("replication_sent_bytes_total", "counter", "Bytes sent to followers.", status.shipped_bytes or 0)
  page:one("replication_received_bytes_total", "counter", "Bytes received from leaders.", status.received_bytes or 0)
  page:one("diverged_messages_total", "counter", "Messages moved aside that the leader's history does not contain.",
    status.diverged or 0)
  page:one("staleness_seconds", "gauge", "How far reads of this node may lag behind the leader, in seconds.",
    status.staleness or 0)
  add_followers(page, status.followers)
end

local function add_routes(page, routes)
  page:family("http_requests_total", "counter", "Answers by route and class of status.")
  for _, r in ipairs(routes) do
    for class, n in ipairs(r.by_class) do
      if n > 0 then page:sample(n, format('route="%s",status="%dxx"', label(r.pattern), class)) end
    end
  end
  page:family("http_request_duration_seconds", "histogram",
    "From a whole request to its answer, by route, without the time that it waits for messages.")
  for _, r in ipairs(routes) do
    if r.latency.count > 0 then page:histogram(r.latency, format('route="%s"', label(r.pattern))) end
  end
end

local function add_http(page, http)
  page:one("http_connections", "gauge", "Open HTTP connections.", http.connections)
  page:one("http_requests_in_flight", "gauge", "Requests that are not answered yet.", http.in_flight)
  page:one("http_accepted_total", "counter", "Connections accepted.", http.accepted)
  page:one("http_refused_total", "counter", "Connections refused at a limit.", http.refused)
  page:one("http_received_bytes_total", "counter", "Bytes received.", http.bytes_in)
  page:one("http_sent_bytes_total", "counter", "Bytes sent.", http.bytes_out)
  page:one("http_bad_requests_total", "counter", "Requests refused because of invalid framing.", http.bad_requests)
  page:one("http_timeouts_total", "counter", "Connections closed by a timeout.", http.timeouts)
  page:one("http_slow_total", "counter", "Readers disconnected because unsent answers exceeded their limit.", http.slow)
  add_routes(page, http.routes)
end

local function add_clients(page)
  local quotas = core.access.quotas()
  page:one("http_clients", "gauge", "Clients whose requests are counted, of limits.client.", quotas.clients)
  page:one("audit_failed_total", "counter", "Entries of the audit that could not be stored.", quotas.unaudited)
  page:family("http_client_requests_total", "counter", "Requests while there are limits for one client.")
  for _, class in ipairs { "address", "token" } do page:sample(quotas.requests[class], format('class="%s"', class)) end
  page:family("http_client_refused_total", "counter", "Requests and connections over a limit for one client.")
  for _, class in ipairs { "address", "token" } do
    for _, name in ipairs { "bytes", "connections", "requests", "waiting" } do
      page:sample(quotas.refused[class][name], format('class="%s",limit="%s"', class, name))
    end
  end
end

-- The empty host stands for all that have no certificate of their own.
local function add_tls(page, http, certificates)
  page:family("tls_handshakes_total", "counter", "TLS handshakes with clients.")
  page:sample(http.handshakes, 'result="done"')
  page:sample(http.handshakes_failed, 'result="failed"')
  page:family("tls_certificate_expires_seconds", "gauge", "Time until a certificate of this node expires.")
  for _, c in ipairs(certificates) do
    page:sample(c["until"] - math.floor(core.now()), format('address="%s",host="%s"', label(c.address), label(c.host)))
  end
end

local function add_store(page, store)
  page:family("store_sync_duration_seconds", "histogram", "Duration of a round of syncs on the disk thread.")
  page:histogram(store.sync)
  page:one("store_synced_files_total", "counter", "Files synced.", store.synced_files)
  page:one("store_written_bytes_total", "counter", "Bytes written to log files.", store.written_bytes)
  page:one("store_open_files", "gauge", "Log files kept open.", store.files_open)
  page:one("store_torn_bytes", "gauge", "Bytes removed from torn tails at this start.", store.torn_bytes)
  page:one("store_damaged_ranges", "gauge", "Ranges known to be damaged.", store.damaged)
  page:one("store_free_bytes", "gauge", "Free space of the data directory's disk.", store.disk_free)
  page:one("store_size_bytes", "gauge", "Size of the data directory's disk.", store.disk_size)
end

local function add_lua(page, vm)
  page:one("lua_memory_bytes", "gauge", "Memory of all Lua code.", vm.memory)
  page:one("lua_memory_limit_bytes", "gauge", "Limit of the memory of all Lua code.", vm.memory_max)
  page:one("lua_cpu_seconds_total", "counter", "Time spent running Lua code.", vm.cpu)
  page:one("lua_tasks", "gauge", "Requests, timers and console lines that run or wait.", vm.tasks_live)
  page:one("lua_tasks_started_total", "counter", "Tasks started.", vm.tasks_started)
  page:one("lua_tasks_failed_total", "counter", "Tasks that ended in an error.", vm.tasks_failed)
  page:one("lua_budget_exceeded_total", "counter", "Tasks stopped because they ran too long.",
    vm.budget_exceeded)
end

local function add_process(page, process)
  page:one("process_cpu_seconds_total", "counter", "CPU time of the process.", process.cpu)
  page:one("process_resident_memory_bytes", "gauge", "Resident memory.", process.rss)
  page:one("process_open_fds", "gauge", "Open descriptors.", process.fds)
  page:one("process_max_fds", "gauge", "Limit of open descriptors.", process.fds_max)
  page:one("log_lines_lost_total", "counter", "Lines of the log that standard error did not take.", process.log_lost)
  page:one("process_start_time_seconds", "gauge", "Start time in seconds since 1970.", process.start_time)
end

local function add_topics(page, stats)
  local totals = stats.totals
  page:one("topics", "gauge", "Topics, including the broker's own.", stats.topics_count)
  page:one("topics_expired_total", "counter", "Topics that this node has deleted, because nobody used them.",
    stats.topics_expired)
  page:one("appended_messages_total", "counter", "Messages appended.", totals.appended_messages)
  page:one("appended_bytes_total", "counter", "Bytes of messages appended.", totals.appended_bytes)
  page:one("read_messages_total", "counter", "Messages read.", totals.read_messages)
  page:one("read_bytes_total", "counter", "Bytes of messages read.", totals.read_bytes)

  local function each(name, help, field, kind)
    page:family(name, kind or "gauge", help)
    for _, t in ipairs(stats.topics) do page:sample(t[field], format('topic="%s"', t.name)) end
  end
  each("topic_first_offset", "The earliest stored offset.", "first")
  each("topic_next_offset", "The offset after the last readable message.", "next")
  each("topic_bytes", "Bytes of a topic's log.", "bytes")
  each("topic_duplicates_total", "Requests of producers that the log had already.", "duplicates", "counter")
  each("topic_sequence_gaps_total", "Requests of producers that were refused because earlier ones are missing.", "gaps",
    "counter")
  page:one("topics_omitted", "gauge", "Topics without series of their own on this page.",
    stats.topics_count - #stats.topics)
end

local GROUPS <const> = {
  { "lag", "gauge", "Messages that are not settled." },
  { "leased", "gauge", "Messages that are leased." },
  { "scheduled", "gauge", "Messages whose next delivery is delayed." },
  { "dying", "gauge", "Dead messages whose letters are not written yet." },
  { "claims", "counter", "Messages delivered." },
  { "acks", "counter", "Messages acknowledged." },
  { "releases", "counter", "Leases released." },
  { "rejects", "counter", "Messages rejected." },
  { "expired", "counter", "Leases whose time was over." },
  { "redelivered", "counter", "Messages delivered again." },
  { "dead", "counter", "Messages settled without an acknowledgement." },
  { "outdated", "counter", "Messages that were not delivered because their TTL was over." },
  { "removed", "counter", "Messages that retention removed before they were settled." },
}

-- Groups are known to the leader, so other nodes have no series of them.
local function add_groups(page)
  local list, infos = core.group.list(), {}
  table.sort(list, function(a, b) return a.topic .. "/" .. a.group < b.topic .. "/" .. b.group end)
  for i = 1, math.min(#list, GROUPS_SHOWN) do infos[#infos + 1] = core.group.info(list[i].topic, list[i].group) end
  local function labels(info) return format('topic="%s",group="%s"', info.topic, info.group) end
  for _, g in ipairs(GROUPS) do
    page:family("group_" .. g[1] .. (g[2] == "counter" and "_total" or ""), g[2], g[3])
    for _, info in ipairs(infos) do page:sample(sample_of(info[g[1]]), labels(info)) end
  end
  page:family("group_oldest_seconds", "gauge", "Age of the oldest message that is not settled; 0 without one.")
  for _, info in ipairs(infos) do page:sample(info.oldest and info.oldest.age or 0, labels(info)) end
  page:family("group_blocked", "gauge",
    "1 when too many messages are leased, delayed or held for it to deliver further ones.")
  for _, info in ipairs(infos) do page:sample(info.blocked and 1 or 0, labels(info)) end
  page:family("group_blocked_offset", "gauge", "Of a blocked group: the message that most others wait for, and why.")
  for _, info in ipairs(infos) do
    local b = info.blocked
    if b then page:sample(b.offset, format('%s,reason="%s"', labels(info), b.reason)) end
  end
  page:one("groups_omitted", "gauge", "Groups without series of their own on this page.", #list - #infos)
end

local OUTCOMES <const> = { "same", "accepted", "rejected", "changed", "rerouted", "failed" }

-- Only while there is a canary, or what is left of one.
local function add_canary(page)
  local report = canary.report()
  if not report.kinds then return end
  page:family("canary_active", "gauge", "1 while a canary judges messages; 0: it was aborted.")
  page:sample(report.state == "on" and 1 or 0)
  page:family("canary_messages_total", "counter", "Messages that the canary has judged, by how it differs.")
  for _, name in ipairs(OUTCOMES) do page:sample(report.kinds[name], ('outcome="%s"'):format(name)) end
  page:family("canary_skipped_total", "counter", "Messages that it was not shown, because too many waited for it.")
  page:sample(report.skipped)
end

---`GET /metrics`
function M.get()
  local stats, page = core.node.stats(TOPICS_SHOWN), setmetatable({}, Page)
  add_node(page)
  add_cluster(page)
  add_http(page, stats.http)
  add_clients(page)
  add_tls(page, stats.http, stats.tls)
  add_store(page, stats.store)
  add_topics(page, stats)
  add_groups(page)
  add_lua(page, stats.vm)
  add_process(page, stats.process)
  add_canary(page)
  page[#page + 1] = core.metrics_text()
  return 200, table.concat(page), { ["Content-Type"] = "text/plain; version=0.0.4; charset=utf-8" }
end

route.get("/metrics", M.get, { action = "observe", all = true })

return M
