--- The keys of lignum.lua: kind, default, bounds and meaning of each, once. config.lua checks by
--- it, `--set` is typed by it, help() shows it, and the bodies of PUT and PATCH on topics are
--- checked by the same rules.
---
--- To add a key: add its line here, show it in lignum.lua at the top level, name it in
--- doc/operate.md (a test compares the three), and read it in C with vm_config_... or in Lua with
--- config.get.
local core = require "lignum.core"
local near = require "lignum.near"

local limits = core.limits
local M = {}

---Units that numbers in lignum.lua and in --set may be multiplied with.
M.units = {
  second = 1, minute = 60, hour = 3600, day = 86400,
  KB = 1000, MB = 1000000, GB = 1000000000, TB = 1000000000000,
  KiB = 1 << 10, MiB = 1 << 20, GiB = 1 << 30, TiB = 1 << 40,
}

local KiB <const>, MiB <const>, TiB <const> = 1 << 10, 1 << 20, 1 << 40
local DAY <const> = 86400
local OFFSET_MAX <const> = 1 << 53

---@class lignum.Key
---@field kind string
---@field default any      a value, or function(config) that makes it
---@field shown? string    the default in words, where it is made
---@field min? number
---@field max? number
---@field words? string[]
---@field text string

local function key(kind, default, text, more)
  local k = more or {}
  k.kind, k.default, k.text = kind, default, text
  return k
end

-- Pairs of name and key, kept in this order for documentation.
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

local function word(default, text, words)
  return key("word", default, text, { words = words })
end

local function durability()
  return word("commit", "what a message has survived when it is acknowledged: commit: fdatasync; interval: a sync each "
    .. "store.sync_interval; os: whenever the kernel likes", { "commit", "interval", "os" })
end

local function segment()
  return group {
    "messages", count(limits.segment_messages_default, "a file is full with this many messages, ...", 1,
      limits.segment_messages_max),
    "bytes", size(limits.segment_bytes_default, "... or this many bytes, ...", 4 * KiB, limits.segment_bytes_max),
    "age", time(0, "... or when its first message is this old at the next publish; 0 = never", 0, 36500 * DAY),
  }
end

local REPLICATION <const> = "wal: acknowledged at the leader's disk, followers trail by whole files and sync "
  .. "intervals; live: acknowledged when all of the synced set have it"

local function settings(replication, more)
  local list = {
    "replication", replication,
    "copies", count(1, "nodes that must have a message before it is acknowledged (live)", 1, 15),
    "durability", durability(),
    "retain", group {
      "age", time(0, "messages older than this may go; 0 = none", 0, 36500 * DAY),
      "bytes", size(0, "what is beyond this size may go, oldest first; 0 = no bound", 0, OFFSET_MAX),
      "messages", count(0, "what is beyond this number may go, oldest first; 0 = no bound", 0, OFFSET_MAX),
    },
    "segment", segment(),
  }
  return group(table.move(more, 1, #more, #list + 1, list))
end

---What a topic has: bodies of PUT and PATCH.
M.settings = settings(word("wal", REPLICATION, { "wal", "live" }), {})

---What `topic "pattern" { ... }` takes: settings of topics yet to come.
M.topic = settings(key("mode", "wal", REPLICATION .. "; or function(topic, state) that returns one of them",
  { words = { "wal", "live" } }), {
  "auto_create", key("flag", true, "whether a publish to a topic that is not there creates it"),
})

local function consul()
  return group {
    "address", key("addresses", {}, "where Consul is: \"HOST:PORT\", or a list, of which the next is asked when one "
      .. "fails; none: a node of its own", { shown = "none" }),
    "key", key("path", "service/lignum/key/master", "the lock; the same on all nodes of a cluster"),
    "token", key("text", nil, "ACL token", { shown = "none" }),
    "tls", group {
      "enabled", key("flag", false, "https; on by itself where a file is named here"),
      "ca", key("text", nil, "file of certificates that Consul's is checked by", { shown = "the system's" }),
      "cert", key("text", nil, "file of this node's certificate", { shown = "none" }),
      "key", key("text", nil, "file of its key", { shown = "none" }),
    },
    "ttl", time(15, "how long a session lives without a sign of life", 10, DAY),
    "check_interval", time(1, "how often Consul asks for this node's /healthz", 0.1, 60),
    "check_timeout", time(1, "how long it waits for the answer", 0.1, 60),
    "agent_check", key("flag", false, "whether a session ends with its agent too; for agents on the nodes' own hosts"),
  }
end

local function cluster()
  return group {
    "name", key("name", nil, "the same as node.name, which goes first", { shown = "that of node" }),
    "consul", consul(),
    "replication", group {
      "listen", key("address", "127.0.0.1:8126", "where followers connect"),
      "advertise", key("text", nil, "the address that they are told", { shown = "the same" }),
      "secret", key("text", nil, "what all nodes know, and nobody else", { shown = "none" }),
      "secret_file", key("text", nil, "a file that holds it", { shown = "none" }),
      "insecure", key("flag", false, "replicate beyond loopback without a secret"),
    },
    "lag_max", time(5, "a follower this far behind leaves the synced set", 0.1, DAY),
    "lease", time(10, "a leader that has not heard from Consul for so long acknowledges nothing", 1, DAY),
    "sync_interval", time(1, "how often followers are sent what WAL topics have on disk", 0.01, 3600),
  }
end

M.keys = group {
  "listen", key("addresses", { "127.0.0.1:8080" }, "addresses to serve HTTP on: \"HOST:PORT\", or a list of them"),
  "store", group {
    "path", key("text", "data", "the data directory; relative to where lignum was started"),
    "durability", durability(),
    "sync_interval", time(1, "how often durability \"interval\" syncs", 0.01, 3600),
    "segment", segment(),
    "audit", time(30, "between two full files that are read in search of damage; 0 = never", 0, DAY),
    "files", count(limits.files_open_max, "log files held open at most", 16, 1000000),
  },
  "limits", group {
    "connections", count(limits.http_connections_max, "HTTP connections at once", 1, 1000000),
    "body", size(limits.http_body_max, "one request's body", KiB, limits.http_body_max),
    "bodies", size(limits.http_bodies_max, "all bodies in memory together", MiB, TiB),
    "head_timeout", time(limits.http_head_ms / 1000, "from a request's first byte to the end of its head", 0.1, 3600),
    "body_timeout", time(limits.http_body_ms / 1000, "from there to the end of its body", 0.1, 86400),
    "idle_timeout", time(limits.http_idle_ms / 1000, "between two requests of a connection", 0.1, 86400),
    "write_timeout", time(limits.http_write_ms / 1000, "until the client has taken an answer", 0.1, 86400),
    "tasks", count(limits.tasks_max, "requests at once; three quarters of them may wait for messages", 16, 1000000),
    "script_time", time(limits.task_budget_ms / 1000, "Lua running without waiting", 0.01, 60),
    "script_memory", size(limits.vm_memory_max, "memory of all Lua together", 8 * MiB, TiB),
  },
  "log", group {
    "level", word("info", "the least that is said", { "debug", "info", "warn", "error" }),
  },
  "console", group {
    "path", key("text", function(config) return config.store.path .. "/console.sock" end,
      "the console's Unix socket", { shown = "console.sock in store.path" }),
  },
  "cluster", cluster(),
  "node", group {
    "name", key("name", function(config) return config.cluster.name or core.node.hostname() end, "this node's name",
      { shown = "the host's name" }),
    "advertise", key("text", function(config) return config.listen[1] end, "the address that others are told",
      { shown = "the first of listen" }),
  },
}

local function show(value)
  local kind = type(value)
  if kind == "string" then return '"' .. value:sub(1, 60):gsub("[%c\"\\]", "?") .. '"' end
  if kind == "number" or kind == "boolean" or kind == "nil" then return tostring(value) end
  return "a " .. kind
end

local function within(n, k)
  if k.min and n < k.min then return nil, ("must be at least %s, not %s"):format(k.min, n) end
  if k.max and n > k.max then return nil, ("must be at most %s, not %s"):format(k.max, n) end
  return n
end

-- Each takes a value and its key and returns the value as it is kept, or nil and what is wrong.
local kinds = {}

function kinds.integer(value, k)
  local n = math.type(value) and math.tointeger(value)
  if not n then return nil, "must be a whole number, not " .. show(value) end
  return within(n, k)
end

kinds.bytes = kinds.integer

function kinds.seconds(value, k)
  if not math.type(value) or value ~= value then return nil, "must be a number of seconds, not " .. show(value) end
  return within(math.tointeger(value) or value, k)
end

function kinds.flag(value)
  if type(value) ~= "boolean" then return nil, "must be true or false, not " .. show(value) end
  return value
end

function kinds.text(value)
  if type(value) ~= "string" or value == "" or value:find("%c") then
    return nil, "must be text, not " .. show(value)
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
  return port ~= nil and #port <= 5 and tonumber(port) <= 65535
end

function kinds.address(value)
  if not address_ok(value) then return nil, "must be \"HOST:PORT\", not " .. show(value) end
  return value
end

-- Of a key in Consul.
function kinds.path(value)
  if type(value) ~= "string" or #value > 256 or not value:find("^[%w._-]+[%w._/-]*$") or value:find("/$") then
    return nil, "must be a path such as service/lignum/key/master, not " .. show(value)
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

local function join(path, name)
  if type(name) ~= "string" then return ("%s[%s]"):format(path, show(name)) end
  return path == "" and name or path .. "." .. name
end

local check_group

---Checks a value by its key. Problems go to report(path, problem), all of them.
---@param k lignum.Key
---@param value any
---@param path string
---@param report fun(path: string, problem: string)
---@return any value   as it is kept; nothing is filled in
function M.check(k, value, path, report)
  if k.kind == "group" then return check_group(k, value, path, report) end
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
  if type(value) ~= "table" then
    return report(path, "must be a table, not " .. show(value))
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

---The value with the defaults of what is absent.
---@param k lignum.Key
---@param value any
---@param config table   what made defaults may look at
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

---One value over another, key by key.
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

---The key at a path such as "store.segment.messages", or nil and what is wrong.
---@param g table
---@param path string
---@param prefix? string
---@return lignum.Key? key
---@return string? problem
function M.find(g, path, prefix)
  local k, done = g, prefix or ""
  for name in path:gmatch("[^.]+") do
    if k.kind ~= "group" then return nil, "there is no such key; " .. done .. " has no parts" end
    local inner = k.fields[name]
    if not inner then
      return nil, "there is no such key" .. near.hint(name, k.order, done == "" and "" or done .. ".")
    end
    k, done = inner, join(done, name)
  end
  if k.kind == "group" then return nil, "has parts: " .. table.concat(k.order, ", ") end
  return k
end

local function parse_number(text)
  local number, unit = text:match("^%s*([%d.]+)%s*(%a*)%s*$")
  local n, factor = tonumber(number), unit == "" and 1 or M.units[unit]
  return n and factor and n * factor or nil
end

---The value that a text of `--set` stands for; checked later like any other.
---@param k lignum.Key
---@param text string
---@return any
function M.parse(k, text)
  if k.kind == "integer" or k.kind == "bytes" or k.kind == "seconds" then return parse_number(text) or text end
  if k.kind == "flag" and (text == "true" or text == "false") then return text == "true" end
  return text
end

return M
