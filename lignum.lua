-- Lignum's configuration. All values here are the defaults: delete the ones that you do not change.
-- It is Lua. Reload it with `kill -HUP` or node.reload() in `lignum console`; a file with errors changes nothing.
-- `lignum check -c lignum.lua` lists the errors. doc/operate.md describes every key, doc/api.md every function.
-- Units: second minute hour day, KB MB GB TB (1000), KiB MiB GiB TiB (1024). Times are in seconds.

listen "127.0.0.1:8080"            -- or { "0.0.0.0:8080", "[::1]:8080" }; beyond loopback, see access
-- listen { address = "0.0.0.0:8443", tls = { cert = "node.pem", key = "node.key" } }   -- HTTPS

store {
  path = "data",                   -- relative to the directory in which lignum is started
  durability = "commit",           -- commit: acknowledged = fdatasynced; interval; os
  sync_interval = 1 * second,      -- for durability "interval"
  commit_log_age = 5 * second,     -- then what many topics were given at a time is in their own files, too
  audit = 30 * second,             -- pause between checks of two sealed files for damage; 0 = never
  files = 4096,                    -- log files kept open; at most a quarter of ulimit -n
  segment = {                      -- a file of a topic is full at the first of these bounds
    messages = 1000000,
    bytes = 64 * MiB,
    age = 0,                       -- of its first message; checked at each publish; 0 = never
  },
}

-- The first pattern that matches a new topic's name decides, so put specific patterns before general ones.
topic "*" {
  auto_create = true,              -- whether the first publish creates the topic
  auto_group = false,              -- whether whoever may consume may create groups
  replication = "wal",             -- or "live", or function(topic, state) return "live" end
  copies = 1,                      -- nodes that must have a message before it is acknowledged; above 1: for "live" only
  -- durability = "commit", segment = { bytes = 64 * MiB }: default to those of store
  retain = { age = 0, bytes = 0, messages = 0, groups = false },   -- 0 = keep everything
  expire = 0,                      -- the topic is deleted when nobody has used it for so many seconds; 0 = never
  dedupe = { age = 120 * second, keys = 100000 },  -- which Idempotency-Keys are remembered
}

limits {
  topics = 1000000,                -- each takes about 1.1 KiB of memory
  connections = 20000,
  body = 8 * MiB,                  -- of one request
  bodies = 256 * MiB,              -- of all requests in memory; as much again for answers not sent yet
  client = {                       -- of one access token, or of one address without one; 0 = no limit
    requests = 0,                  -- a second
    bytes = 0,                     -- sent and received, a second
    connections = 0,               -- of one address
    waiting = 0,                   -- requests that wait, event streams included
  },
  head_timeout = 10 * second,      -- from a request's first byte to the end of its head
  body_timeout = 60 * second,      -- from the end of the head to the end of the body
  idle_timeout = 75 * second,      -- between two requests of a connection
  write_timeout = 60 * second,     -- for the client to receive an answer
  tasks = 20000,                   -- requests at once
  script_time = 1 * second,        -- CPU time that Lua may use between two waits
  reload_grace = 10 * second,      -- after a reload, how long requests of before may go on
  stall = 10 * second,             -- for one call of C by Lua, before the process ends; 0: no limit
  script_memory = 256 * MiB,
}

log {
  level = "info",                  -- debug, info, warn, error
  format = "text",                 -- text, json
  requests = false,                -- a line for each answer to a client
}

cluster {                          -- without consul.address the node has no cluster
  -- name = node.hostname(),       -- the same as node.name
  consul = {
    -- address = "127.0.0.1:8500", -- or a list: the next is tried when one fails; also --consul HOST:PORT
    key = "service/lignum/key/master",   -- the same on all nodes of a cluster
    -- token = os.getenv "CONSUL_HTTP_TOKEN",
    -- tls = { enabled = false, ca = "ca.pem", cert = "node.pem", key = "node.key" },
    ttl = 15 * second,             -- a session that is not renewed ends after this time
    check_interval = 1 * second,   -- how often Consul checks this node's /healthz,
    check_timeout = 1.2 * second,  -- how long it waits for the answer,
    check_failures = 2,            -- and how many checks in a row have to fail before the session ends
    agent_check = false,           -- true: end the session also when Consul's agent fails
  },
  replication = {
    listen = "127.0.0.1:8126",     -- also --replication HOST:PORT
    -- secret_file = "secret",     -- (or secret = "..."): what `lignum secret new` prints, the same on all nodes
    -- advertise = "10.0.0.1:8126",
    insecure = false,              -- true: without a secret, unencrypted, with whoever connects
  },
  -- forward = { ca = "ca.pem", cert = "node.pem", key = "node.key" },   -- for writes that go to the leader by https
  lag_max = 5 * second,            -- a follower further behind leaves the synced set
  drain = 10 * second,             -- how long a leader that is stopped waits for followers to receive what it holds
  lease = 10 * second,             -- a leader without contact to Consul this long stops acknowledging
  same_config = true,              -- whether health reports nodes with another lignum.lua than this one's
  -- sync_interval = 0.05 * second,   -- how often followers are sent the synced messages of WAL topics
}

access {
  -- open = true,                  -- true: nobody needs a token; false: all do; else all, once there is one
  stale = 300 * second,            -- how long a node without a leader goes on by the tokens that it knows
  metrics = false,                 -- true: /metrics needs no token
  -- audit = true,                 -- false: nothing is written to _audit; else all, once the node asks for tokens
}

-- token "ci" { hash = "sha256:...", topics = "orders.*", may = "publish,read" }    -- `lignum token new ci` prints it

cors {                             -- pages of these origins may use this node, besides its own
  origins = {},                    -- "https://app.example", "http://localhost:3000"; "*": all
}

-- durable_streams {           -- serve Durable Streams at /v1/stream (doc/durable-streams.md)
--   long_poll        = 20 * second,
--   webhook_networks = { "10.0.0.0/8" },   -- that webhooks may lead to besides the Internet
-- }
-- console { path = "data/console.sock", web = true }   -- web: serve /console; lua = false: run no Lua there
-- node { name = node.hostname(), advertise = "127.0.0.1:8080", core_dumps = false, hosts = {} }

-- Hooks: define only the ones that you need.
--
-- function authorize(req)         -- any result but true refuses the request
--   return req:header("authorization") == "Bearer " .. os.getenv("LIGNUM_TOKEN")
-- end
--
-- function on_publish(msg)        -- change, reject or reroute a message before it is stored
--   if #msg.payload == 0 then return reject("empty message") end
-- end
--
-- function may_lead(state)        -- any result but true keeps this node from leading
--   return state.name ~= "backup"
-- end
--
-- filter.urgent = function(msg) return msg.headers.urgency == "high" end      -- for groups with this filter
--
-- consume("jobs", "mails", function(msg) say.info(msg.payload) end)          -- a worker in the broker
-- function on_retry(msg, deliveries, why) return deliveries * 10 end         -- seconds, "dead" or nothing
--
-- function on_leader_change(event) say.warn("leader: " .. (event.leader and event.leader.name or "none")) end
--
-- route.get("/hello/{name}", function(req) return 200, { hello = req.params.name } end)
--
-- every(60 * second, function() say.info(#topics() .. " topics") end)
