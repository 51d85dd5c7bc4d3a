-- Lignum's configuration. What stands here is the default: delete what you do not change.
-- It is Lua. Reload it with `kill -HUP`, or node.reload() in `lignum console`; a mistake changes nothing.
-- `lignum check -c lignum.lua` says what is wrong. doc/operate.md explains every key, doc/api.md every function.
-- Units: second minute hour day, KB MB GB TB (1000), KiB MiB GiB TiB (1024). Times are seconds.

listen "127.0.0.1:8080"            -- or { "0.0.0.0:8080", "[::1]:8080" }; beyond loopback define authorize

store {
  path = "data",                   -- relative to where lignum was started
  durability = "commit",           -- commit: acknowledged = fdatasynced; interval; os
  sync_interval = 1 * second,      -- of durability "interval"
  audit = 30 * second,             -- between two full files that are read in search of damage; 0 = never
  files = 4096,                    -- log files held open; at most a quarter of ulimit -n
  segment = {                      -- a file of a topic is full with ...
    messages = 1000000,
    bytes = 64 * MiB,
    age = 0,                       -- 0 = never; judged at the next publish
  },
}

-- The first pattern that matches a new topic's name decides, so the particular comes before the general.
topic "*" {
  auto_create = true,              -- whether a first publish creates it
  replication = "wal",             -- or "live", or function(topic, state) return "live" end
  copies = 1,                      -- nodes that must have a message before it is acknowledged
  -- durability = "commit", segment = { bytes = 64 * MiB }: as in store, unless given here
  retain = { age = 0, bytes = 0, messages = 0 },   -- 0 = keep everything
}

limits {
  connections = 20000,
  body = 8 * MiB,                  -- of one request; all together:
  bodies = 256 * MiB,              -- and, counted apart, all answers that clients have yet to take
  head_timeout = 10 * second,      -- from a request's first byte to the end of its head
  body_timeout = 60 * second,      -- from there to the end of its body
  idle_timeout = 75 * second,      -- between two requests
  write_timeout = 60 * second,     -- until the client has taken an answer
  tasks = 20000,                   -- requests at once
  script_time = 0.2 * second,      -- Lua running without waiting
  script_memory = 256 * MiB,
}

log { level = "info" }             -- debug, info, warn, error

cluster {                          -- without consul.address this is a node of its own
  -- name = node.hostname(),       -- the same as node.name
  consul = {
    -- address = "127.0.0.1:8500", -- or a list, of which the next is asked when one fails; also --consul HOST:PORT
    key = "service/lignum/key/master",   -- the same on all nodes of a cluster
    -- token = os.getenv "CONSUL_HTTP_TOKEN",
    -- tls = { enabled = false, ca = "ca.pem", cert = "node.pem", key = "node.key" },
    ttl = 15 * second,             -- of a session that nobody renews
    check_interval = 1 * second,   -- between two looks of Consul at this node's /healthz,
    check_timeout = 1 * second,    -- which must answer in that time
    agent_check = false,           -- true: a node goes with its agent; for agents on the nodes' own hosts
  },
  replication = {
    listen = "127.0.0.1:8126",     -- also --replication HOST:PORT; beyond loopback with a secret
    -- advertise = "10.0.0.1:8126", secret_file = "secret" (or secret = "..."), insecure = false,
  },
  lag_max = 5 * second,            -- a follower further behind leaves the synced set
  lease = 10 * second,             -- a leader that has not heard from Consul for so long acknowledges nothing
  sync_interval = 1 * second,      -- how often followers are sent what WAL topics have on disk
}

-- console { path = "data/console.sock" }
-- node { name = node.hostname(), advertise = "127.0.0.1:8080" }

-- Functions stand only where there is something to decide.
--
-- function authorize(req)         -- anything but true refuses the request
--   return req:header("authorization") == "Bearer " .. os.getenv("LIGNUM_TOKEN")
-- end
--
-- function on_publish(msg)        -- reshape, refuse or reroute a message before it is stored
--   if #msg.payload == 0 then return reject("empty message") end
-- end
--
-- function may_lead(state)        -- anything but true, and this node does not try
--   return state.name ~= "backup"
-- end
--
-- function on_leader_change(event) say.warn("leader: " .. (event.leader and event.leader.name or "none")) end
--
-- route.get("/hello/{name}", function(req) return 200, { hello = req.params.name } end)
--
-- every(60 * second, function() say.info(#topics() .. " topics") end)
