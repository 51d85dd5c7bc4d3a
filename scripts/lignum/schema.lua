--- The keys of lignum.lua: kind, default, bounds and description of each. config.lua checks lignum.lua by them, `--set`
--- takes the types of its values from them, help() shows them, and the bodies of PUT and PATCH on topics are checked by
--- them.
---
--- To add a key: add a line here, show it in lignum.lua at the top level and describe it in doc/operate.md (a test
--- compares the three). Read it in C with vm_config_... or in Lua with config.get.
local core = require "lignum.core"
local near = require "lignum.near"

local limits, json = core.limits, core.json
local M = {}

---Units for numbers in lignum.lua (`64 * MiB`) and in --set (`64MiB`).
M.units = {
  second = 1, minute = 60, hour = 3600, day = 86400,
  KB = 1000, MB = 1000000, GB = 1000000000, TB = 1000000000000,
  KiB = 1 << 10, MiB = 1 << 20, GiB = 1 << 30, TiB = 1 << 40,
}

local KiB <const>, MiB <const>, TiB <const> = 1 << 10, 1 << 20, 1 << 40
local DAY <const> = 86400
local NETWORKS_MAX <const> = 16      -- of one fetch: public and 15 others

---@class lignum.Key
---@field kind string
---@field default any      a value, or function(config) that computes it
---@field shown? string    describes a computed default
---@field min? number
---@field max? number      of a text: its length
---@field words? string[]
---@field told? boolean    of an address: others connect to it, so port 0 (any free one) makes no sense
---@field https? boolean   of an address: "https://" may stand before it
---@field milliseconds? boolean   of seconds: a fraction of a millisecond is refused
---@field text string

local function key(kind, default, text, more)
  local k = more or {}
  k.kind, k.default, k.text = kind, default, text
  return k
end

-- A group of keys, from a list of alternating names and keys. The order is kept for documentation.
local function group(list)
  local g = { kind = "group", fields = {}, order = {} }
  for i = 1, #list, 2 do
    g.order[#g.order + 1] = list[i]
    g.fields[list[i]] = list[i + 1]
  end
  return g
end

local function count(default, text, min, max)
  return key("integer", default, text, { min = min, max = max })
end

local function size(default, text, min, max)
  return key("bytes", default, text, { min = min, max = max })
end

local function time(default, text, min, max)
  return key("seconds", math.tointeger(default) or default, text, { min = min, max = max })
end

-- Of messages and files. They are kept in whole milliseconds; a shorter one would be taken for 0, which means never.
local function age(text)
  local k = time(0, text, 0, limits.age_s_max)
  k.milliseconds = true
  return k
end

local function word(default, text, words)
  return key("word", default, text, { words = words })
end

local function durability()
  return word("commit", "when a message is acknowledged: commit: after fdatasync; interval, os: after the write; "
    .. "interval syncs every store.sync_interval, os leaves it to the kernel", { "commit", "interval", "os" })
end

local function segment()
  return group {
    "messages", count(limits.segment_messages_default, "a file is full at this many messages, ...", 1,
      limits.segment_messages_max),
    "bytes", size(limits.segment_bytes_default, "... or this many bytes, ...", limits.segment_bytes_min,
      limits.segment_bytes_max),
    "age", age("... or when its first message is this old at a publish; 0 = never"),
  }
end

local function dedupe()
  local k = time(limits.dedupe_age_ms_default // 1000, "how long an Idempotency-Key is remembered, ...", 0.001,
    limits.producer_age_ms // 1000)
  k.milliseconds = true
  return group {
    "age", k,
    "keys", count(limits.dedupe_keys_default, "... and how many of them at most", 1, limits.dedupe_keys_max),
  }
end

local REPLICATION <const> = "wal: acknowledged when the leader's disk has it, followers receive it with a delay; "
  .. "live: acknowledged when every member of the synced set has it"

local function settings(replication, more)
  local list = {
    "replication", replication,
    "copies", count(1, "nodes that must have a message before it is acknowledged; more than 1 for live only", 1,
      limits.copies_max),
    "durability", durability(),
    "retain", group {
      "age", age("messages older than this may be deleted; 0 = never"),
      "bytes", size(0, "beyond this size the oldest may be deleted; 0 = no bound", 0, limits.json_integer_max),
      "messages", count(0, "beyond this number the oldest may be deleted; 0 = no bound", 0,
        limits.json_integer_max),
      "groups", key("flag", false, "whether messages that all groups of the topic have settled may be deleted"),
    },
    "expire", age("the topic is deleted when nobody has used it for this long; 0 = never"),
    "segment", segment(),
    "dedupe", dedupe(),
  }
  return group(table.move(more, 1, #more, #list + 1, list))
end

---The settings of a topic, as in bodies of PUT and PATCH.
M.settings = settings(word("wal", REPLICATION, { "wal", "live" }), {})

---The keys of `topic "pattern" { ... }`: settings for topics that are created later.
M.topic = settings(key("mode", "wal", REPLICATION .. "; or function(topic, state) that returns one of them",
  { words = { "wal", "live" } }), {
  "auto_create", key("flag", true, "whether a publish to a missing topic creates it"),
  "auto_group", key("flag", false, "whether whoever may consume may also create groups"),
})

local function consul()
  return group {
    "address", key("addresses", {}, "Consul's address: \"HOST:PORT\", or a list, of which the next is tried when "
      .. "one fails; none: a node without a cluster", { shown = "none" }),
    "key", key("path", "service/lignum/key/master", "the key of the lock; the same on all nodes of a cluster"),
    "token", key("text", nil, "ACL token", { shown = "none" }),
    "tls", group {
      "enabled", key("flag", false, "use https; true by default when ca or cert is given"),
      "ca", key("text", nil, "file of CA certificates to verify Consul's with", { shown = "the system's" }),
      "cert", key("text", nil, "file of this node's certificate", { shown = "none" }),
      "key", key("text", nil, "file of the key to cert", { shown = "none" }),
    },
    "ttl", time(15, "a session that is not renewed ends after this time", 10, DAY),
    "check_interval", time(1, "how often Consul checks this node's /healthz; Consul takes no less than 1", 1, 60),
    "check_timeout", time(1.2, "how long Consul waits for the answer; a lost SYN is repeated after 1 s", 0.1, 60),
    "check_failures", count(2, "the session ends when that many checks in a row have failed", 1, 100),
    "agent_check", key("flag", false, "end the session also when its agent fails; for agents on the nodes' hosts"),
  }
end

local function cluster()
  return group {
    "name", key("name", nil, "the same as node.name, which takes precedence", { shown = "node.name" }),
    "consul", consul(),
    "replication", group {
      "listen", key("address", "127.0.0.1:8126", "where followers connect"),
      "advertise", key("address", nil, "the address that followers are told", { shown = "listen", told = true }),
      "secret", key("secret", nil, "shared by all nodes of the cluster; made by `lignum secret new`",
        { shown = "none" }),
      "secret_file", key("text", nil, "a file that contains the secret", { shown = "none" }),
      "insecure", key("flag", false, "replicate without a secret: unencrypted, with whoever connects"),
    },
    "forward", group {
      "ca", key("text", nil, "file of CA certificates to verify the leader's with, when writes go to it by https",
        { shown = "the system's" }),
      "cert", key("text", nil, "file of this node's certificate, for a leader with client_ca", { shown = "none" }),
      "key", key("text", nil, "file of the key to cert", { shown = "none" }),
    },
    "lag_max", time(limits.lag_ms / 1000, "a follower this far behind leaves the synced set", 0.1, DAY),
    "drain", time(10, "how long a leader that is stopped waits for its followers to receive what it holds", 0, 300),
    "lease", time(limits.lease_ms / 1000, "a leader without contact to Consul this long stops acknowledging", 1, DAY),
    "same_config", key("flag", true, "whether nodes tell each other which configuration they have, and health where "
      .. "they differ"),
    "sync_interval", key("seconds", nil, "how often followers are sent the synced messages of WAL topics",
      { min = 0.01, max = 3600, shown = "0.05; up to 1 with thousands of topics" }),
  }
end

M.keys = group {
  "listen", key("listeners", function() return { { address = "127.0.0.1:8080" } } end,
    "where to serve HTTP: \"HOST:PORT\", { address =, tls = { cert =, key =, ... } }, or a list of them",
    { shown = "127.0.0.1:8080" }),
  "store", group {
    "path", key("text", "data", "the data directory; relative to the directory in which lignum is started"),
    "durability", durability(),
    "sync_interval", time(limits.sync_interval_ms / 1000, "how often durability \"interval\" syncs", 0.01, 3600),
    "commit_log_age", time(limits.commit_log_age_ms / 1000, "how long what many topics were given at a time rests "
      .. "in the commit log before the topics' own files are synced", 0.01, 3600),
    "segment", segment(),
    "audit", time(limits.audit_pause_ms / 1000, "pause between checks of two sealed files for damage; 0 = never", 0,
      DAY),
    "files", count(limits.files_open_max, "most log files kept open", 16, 1000000),
  },
  "limits", group {
    "topics", count(limits.topics_max, "topics, internal ones included", 16, 10000000),
    "connections", count(limits.http_connections_max, "HTTP connections at once", 1, 1000000),
    "body", size(limits.http_body_max, "one request's body", KiB, limits.http_body_max),
    "bodies", size(limits.http_bodies_max, "all request bodies in memory together", MiB, TiB),
    "client", group {
      "requests", count(0, "of one client, a second; 0 = no limit", 0, 1000000000),
      "bytes", size(0, "that one client sends and is sent, a second; 0 = no limit", 0, TiB),
      "connections", count(0, "of one address; 0 = no limit", 0, 1000000),
      "waiting", count(0, "requests of one client that wait, event streams included; 0 = no limit", 0, 1000000),
    },
    "head_timeout", time(limits.http_head_ms / 1000, "from a request's first byte to the end of its head", 0.1, 3600),
    "body_timeout", time(limits.http_body_ms / 1000, "from the end of the head to the end of the body", 0.1, 86400),
    "idle_timeout", time(limits.http_idle_ms / 1000, "between two requests of a connection", 0.1, 86400),
    "write_timeout", time(limits.http_write_ms / 1000, "for the client to receive an answer", 0.1, 86400),
    "tasks", count(limits.tasks_max, "requests at once; three quarters of them may wait for messages", 16, 1000000),
    "script_time", time(limits.task_budget_ms / 1000, "CPU time that Lua may use between two waits", 0.01, 60),
    "reload_grace", time(limits.reload_grace_ms / 1000, "for requests of before, after a reload", 0.1, 3600),
    "stall", time(limits.stall_ms / 1000, "for one call of C by Lua, before the process ends; 0: no limit", 0, 3600),
    "script_memory", size(limits.vm_memory_max, "memory of lignum.lua and the routes", 8 * MiB, TiB),
  },
  "log", group {
    "level", word("info", "the lowest level that is logged", { "debug", "info", "warn", "error" }),
    "format", word("text", "the form of a line of the log", { "text", "json" }),
    "requests", key("flag", false, "whether each answer to a client is a line of the log"),
  },
  "console", group {
    "path", key("text", function(config) return config.store.path .. "/console.sock" end,
      "the console's Unix socket", { shown = "console.sock in store.path" }),
    "web", key("flag", true, "whether GET /console is the web console"),
    "lua", key("flag", nil, "true: POST /v1/console runs Lua for whoever may admin everything; false: for nobody",
      { shown = "only for access tokens" }),
  },
  "cluster", cluster(),
  "access", group {
    "open", key("flag", nil, "true: whoever shows no token may do everything; false: everybody needs a token",
      { shown = "on loopback, until the first token" }),
    "stale", time(limits.access_stale_ms / 1000, "how long a node that hears no leader goes on by the tokens that it "
      .. "knows; 0 = without end", 0, DAY),
    "metrics", key("flag", false, "serve /metrics to whoever asks"),
    "audit", key("flag", nil, "write changes, lines of the console and refused requests to _audit",
      { shown = "once the node asks for tokens" }),
  },
  "cors", group {
    "origins", key("origins", {}, "whose pages may use this node besides its own: \"https://app.example\", a list, or "
      .. "\"*\"", { shown = "none" }),
  },
  "durable_streams", group {
    "long_poll", time(20, "how long a read with live=long-poll waits for a message", 0.1, 60),
    "webhook_networks", key("networks", {}, "networks that webhooks may lead to besides the Internet, also by http: "
      .. "\"10.0.0.0/8\", or a list", { shown = "none" }),
  },
  "node", group {
    "name", key("name", function(config) return config.cluster.name or core.node.hostname() end, "this node's name",
      { shown = "the host's name" }),
    "advertise", key("address", nil, "the address of this node that others are told; https://HOST:PORT with TLS",
      { shown = "the first address of listen", told = true, https = true }),
    "hosts", key("hosts", {}, "names in Host that are served on loopback, besides addresses and localhost",
      { shown = "none, but that of advertise" }),
    "core_dumps", key("flag", false, "whether a crash may leave a core dump, which holds messages and secrets"),
  },
}

local function pair()
  return "cert", key("text", nil, "file of the certificate, and those between it and its CA, in PEM form"),
    "key", key("text", nil, "file of its key")
end

local function tls()
  local cert, cert_key, name, name_key = pair()
  return group {
    cert, cert_key, name, name_key,
    "names", key("names", nil, "[\"HOST\"] = { cert =, key = }: what clients are shown that name this host"),
    "client_ca", key("text", nil, "file of CA certificates: clients must show a certificate of one of them"),
    "client_auth", word("required", "whether a client without one is refused", { "required", "optional" }),
  }
end

-- What `listen` takes besides "HOST:PORT".
M.listener = group { "address", key("address"), "tls", tls() }
M.name = group { pair() }

local function show(value)
  local kind = type(value)
  if kind == "string" then return '"' .. value:sub(1, 60):gsub("[%c\"\\]", "?") .. '"' end
  if kind == "number" or kind == "boolean" or kind == "nil" then return tostring(value) end
  if value == json.null then return "null" end
  return "a " .. kind
end

local function within(n, k)
  if k.min and n < k.min then return nil, ("must be at least %s, not %s"):format(k.min, n) end
  if k.max and n > k.max then return nil, ("must be at most %s, not %s"):format(k.max, n) end
  return n
end

-- Checks by kind: kinds.KIND(value, key) returns the value to store, or nil and the problem.
local kinds = {}

function kinds.integer(value, k)
  local n = math.type(value) and math.tointeger(value)
  if not n then return nil, "must be a whole number, not " .. show(value) end
  return within(n, k)
end

kinds.bytes = kinds.integer

function kinds.seconds(value, k)
  if not math.type(value) or value ~= value then return nil, "must be a number of seconds, not " .. show(value) end
  if k.milliseconds and (value * 1000 + 0.5) // 1 / 1000 ~= value then
    return nil, "must be in whole milliseconds, not " .. show(value)
  end
  return within(math.tointeger(value) or value, k)
end

function kinds.flag(value)
  if type(value) ~= "boolean" then return nil, "must be true or false, not " .. show(value) end
  return value
end

function kinds.text(value, k)
  if type(value) ~= "string" or value == "" or value:find("%c") then
    return nil, "must be text, not " .. show(value)
  end
  if k.max and #value > k.max then return nil, ("must be at most %d characters long"):format(k.max) end
  return value
end

-- The strength of a passphrase cannot be judged, so a secret has the form of random bytes (core/net/secret.h). The
-- problem does not show the value.
function kinds.secret(value)
  local least, most = 2 * limits.secret_size_min, 2 * limits.secret_size_max
  if type(value) ~= "string" or value:find("%X") or #value < least or #value > most or #value % 2 > 0 then
    return nil, ("must be %d to %d hexadecimal digits (at least %d random bits): `lignum secret new` prints one")
      :format(least, most, 4 * least)
  end
  return value
end

function kinds.word(value, k)
  for _, w in ipairs(k.words) do
    if value == w then return value end
  end
  local hint = near.hint(value, k.words)
  return nil, ("must be one of %s, not %s%s"):format(table.concat(k.words, ", "), show(value), hint)
end

function kinds.name(value)
  if type(value) ~= "string" or not value:find("^[%w._-]+$") or #value > limits.node_name_max then
    return nil, ("must be 1 to %d of A-Z a-z 0-9 . _ -, not %s"):format(limits.node_name_max, show(value))
  end
  return value
end

local function address_ok(text)
  if type(text) ~= "string" then return false end
  local port = text:match("^%[[%x:.]+%]:(%d+)$") or text:match("^[%w._-]+:(%d+)$")
  return port ~= nil and #port <= 5 and tonumber(port) <= 65535 and #text <= limits.node_address_max
end

function kinds.address(value, k)
  if not address_ok(k.https and type(value) == "string" and value:gsub("^https://", "") or value) then
    return nil, ("must be \"HOST:PORT\"%s, not %s"):format(k.https and " or \"https://HOST:PORT\"" or "", show(value))
  end
  if #value > limits.node_address_max then return nil, ("must be at most %d long"):format(limits.node_address_max) end
  if k.told and value:find(":0+$") then return nil, "must have the port that others connect to, not 0" end
  return value
end

-- The path of a key in Consul.
function kinds.path(value)
  if type(value) ~= "string" or #value > 256 or not value:find("^[%w._-]+[%w._/-]*$") or value:find("/$") then
    return nil, "must be a path such as service/lignum/key/master, not " .. show(value)
  end
  for part in (value .. "/"):gmatch("([^/]*)/") do     -- what Consul would take for another key, or for none
    if part == "" or part == "." or part == ".." then
      return nil, ("must not contain an empty part, . or .. as %s does"):format(show(value))
    end
  end
  return value
end

function kinds.mode(value, k)
  if type(value) == "function" then return value end
  return kinds.word(value, k)
end

function kinds.addresses(value)
  local list = type(value) == "table" and value or { value }
  if #list == 0 then return nil, "must be \"HOST:PORT\" or a list of them" end
  for _, text in ipairs(list) do
    if not address_ok(text) then return nil, "must be \"HOST:PORT\", not " .. show(text) end
  end
  return list
end

-- As a browser writes it in Origin: in lower case, and without the port that the scheme implies.
local function origin_ok(text)
  if text == "*" then return true end
  if type(text) ~= "string" or text:find("%s") then return false end
  local scheme, host = text:match("^(%a[%w+.-]*)://([^/?#@]+)$")
  return scheme ~= nil and not (scheme .. host):lower():find("^https?.*:0*80$") and not host:find(":0*443$")
end

function kinds.origins(value)
  local list = type(value) == "table" and value or { value }
  for _, text in ipairs(list) do
    if not origin_ok(text) then
      return nil, "must be \"SCHEME://HOST\", with :PORT unless it is the usual one, or \"*\", not " .. show(text)
    end
  end
  return list
end

function kinds.hosts(value)
  local list = type(value) == "table" and value or { value }
  for _, text in ipairs(list) do
    if type(text) ~= "string" or not text:find("^[%w._-]+$") then
      return nil, "must be a name without a port, not " .. show(text)
    end
  end
  return list
end

function kinds.networks(value)
  local list = type(value) == "table" and value or { value }
  for _, text in ipairs(list) do
    if type(text) ~= "string" or not core.is_network(text) then
      return nil, "must be a network such as \"10.0.0.0/8\", or \"public\", not " .. show(text)
    end
  end
  if #list >= NETWORKS_MAX then return nil, ("has more than %d networks"):format(NETWORKS_MAX - 1) end
  return list
end

local function join(path, name)
  if type(name) ~= "string" then return ("%s[%s]"):format(path, show(name)) end
  return path == "" and name or path .. "." .. name
end

local check_group, check_listeners, check_names

---The kinds whose values are lists: --set may give them several times.
M.lists = { addresses = true, origins = true, hosts = true, listeners = true, networks = true }

---Checks a value by its key. Each problem is passed to report(path, problem).
---@param k lignum.Key
---@param value any
---@param path string
---@param report fun(path: string, problem: string)
---@return any value   to store; defaults are not filled in
function M.check(k, value, path, report)
  if k.kind == "group" then return check_group(k, value, path, report) end
  if k.kind == "listeners" then return check_listeners(value, path, report) end
  if k.kind == "names" then return check_names(value, path, report) end
  local kept, problem = kinds[k.kind](value, k)
  if problem then report(path, problem) end
  return kept
end

local function names_of(value)
  local names = {}
  for name in pairs(value) do names[#names + 1] = name end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  return names
end

function check_group(g, value, path, report)
  if type(value) ~= "table" or json.is_array(value) then
    return report(path, "must be a table, not " .. (type(value) == "table" and "a list" or show(value)))
  end
  local kept = {}
  for _, name in ipairs(names_of(value)) do
    local k = g.fields[name]
    if k then
      kept[name] = M.check(k, value[name], join(path, name), report)
    else
      report(join(path, name), "there is no such key" .. near.hint(name, g.order, path == "" and "" or path .. "."))
    end
  end
  return kept
end

-- A list of { address =, tls = }. What it names is checked later (listeners.lua).
function check_listeners(value, path, report)
  local single = type(value) ~= "table" or value[1] == nil and next(value) ~= nil
  local list, kept = single and { value } or value, {}
  if #list == 0 then return report(path, "must be \"HOST:PORT\", { address =, tls = } or a list of them") end
  for i, item in ipairs(list) do
    local at = #list == 1 and path or join(path, tostring(i))
    if type(item) == "table" then
      kept[i] = M.check(M.listener, item, at, report)
      if item.address == nil then report(at, "needs an address: { address = \"HOST:PORT\", tls = { ... } }") end
    else
      local address, problem = kinds.address(item, {})
      if problem then report(at, problem) end
      kept[i] = { address = address }
    end
  end
  return kept
end

function check_names(value, path, report)
  if type(value) ~= "table" then return report(path, "must be a table, not " .. show(value)) end
  local kept = {}
  for _, host in ipairs(names_of(value)) do
    if type(host) ~= "string" or not host:find("^%*?[%w._-]+$") or host:find("^%*[^.]") then
      report(path, "must have names of hosts as keys, such as node.example or *.node.example, not " .. show(host))
    else
      kept[host:lower()] = M.check(M.name, value[host], ("%s[%q]"):format(path, host), report)
    end
  end
  return kept
end

---Fills in the defaults of absent keys.
---@param k lignum.Key
---@param value any
---@param config table?  passed to computed defaults; nil: the result itself
---@return any
function M.fill(k, value, config)
  if k.kind ~= "group" then
    if value ~= nil then return value end
    if type(k.default) == "function" then return k.default(config) end
    return k.default
  end
  local full = {}
  config = config or full
  for _, name in ipairs(k.order) do
    full[name] = M.fill(k.fields[name], value and value[name], config)
  end
  return full
end

---Merges two values of a group key by key; `over` takes precedence.
---@param g table
---@param over table?
---@param under table
---@return table
function M.merge(g, over, under)
  local merged = {}
  for name, k in pairs(g.fields) do
    local value = over and over[name]
    if k.kind == "group" then
      merged[name] = M.merge(k, value, under[name])
    elseif value ~= nil then
      merged[name] = value
    else
      merged[name] = under[name]
    end
  end
  return merged
end

---The key at a path such as "store.segment.messages", or nil and the problem.
---@param g table
---@param path string
---@param prefix? string
---@return lignum.Key? key
---@return string? problem
function M.find(g, path, prefix)
  local k, done = g, prefix or ""
  for name in path:gmatch("[^.]+") do
    if k.kind ~= "group" then return nil, ("there is no such key; %s is not a group"):format(done) end
    local inner = k.fields[name]
    if not inner then
      return nil, "there is no such key" .. near.hint(name, k.order, done == "" and "" or done .. ".")
    end
    k, done = inner, join(done, name)
  end
  if k.kind == "group" then return nil, "is a group of keys: " .. table.concat(k.order, ", ") end
  return k
end

local function parse_number(text)
  local number, unit = text:match("^%s*([%d.]+)%s*(%a*)%s*$")
  local n, factor = tonumber(number), unit == "" and 1 or M.units[unit]
  return n and factor and n * factor or nil
end

---Converts a text of `--set` to its key's type. The value is checked later, like those of lignum.lua.
---@param k lignum.Key
---@param text string
---@return any
function M.parse(k, text)
  if k.kind == "integer" or k.kind == "bytes" or k.kind == "seconds" then return parse_number(text) or text end
  if k.kind == "flag" and (text == "true" or text == "false") then return text == "true" end
  return text
end

return M
