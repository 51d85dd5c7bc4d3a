--- The verbs of lignum.lua (`store {...}`, `topic "*" {...}`), and the configuration that they declare.
---
--- A verb only records its value and its place in the file. finish() then checks everything by the schema and collects
--- all errors. This module is loaded again for each draft (modules.lua), so its state belongs to one draft.
local access = require "lignum.access"
local core = require "lignum.core"
local listeners = require "lignum.listeners"
local schedule = require "lignum.schedule"
local schema = require "lignum.schema"
local worker = require "lignum.worker"

local M = {
  values = nil,   ---@type table    every key with its value, after finish()
  rules = {},     ---@type lignum.Rule[]
  timers = {},    ---@type lignum.Timer[]
  filters = {},   ---@type table<string, function>   of groups, by their names
  tokens = {},    -- what `token` declares, as access.declared returns it
}

---@class lignum.Rule
---@field pattern string
---@field settings table?
---@field place string

local declared = {}     -- [verb] = { value =, place = }
local set_paths = {}    -- [path] = true: `--set` gave this key
local errors, reported = {}, {}     -- reported: each text is an error once
local loading = true

-- Verbs that are planned. The name is reserved, so that a file which uses one fails with a clear message.
local NOT_YET = { "tls", "peers" }

---Records an error.
---@param place string?  "lignum.lua:12"; nil: the text already begins with it
---@param text string
function M.report(place, text)
  local all = place and place .. ": " .. text or text
  if reported[all] then return end
  reported[all] = true
  errors[#errors + 1] = { line = tonumber(all:match("^[^%s]-:(%d+):")) or math.huge, at = #errors, text = all }
end

local function only_while_loading(verb)
  if not loading then error(verb .. " can be used only while lignum.lua is loaded", 3) end
end

local function declare(verb, value, place)
  local earlier = declared[verb]
  if earlier then
    return M.report(place, ("%s: is already declared, at %s"):format(verb, earlier.place))
  end
  declared[verb] = { value = value, place = place }
end

-- May be given several times: a listener, or a list of them. Each has the place of its own call.
local function listen(value)
  only_while_loading("listen")
  local single = type(value) ~= "table" or value[1] == nil
  declared.listen = declared.listen or { value = {}, place = core.caller(2), places = {} }
  local all = declared.listen
  for _, listener in ipairs(single and { value } or value) do
    table.insert(all.value, listener)
    table.insert(all.places, core.caller(2))
  end
end

local function declare_rule(pattern, place)
  local good = type(pattern) == "string" and pattern:find("^[%w._*?-]+$")
  pattern = tostring(pattern)
  local rule = { pattern = pattern, place = place }
  M.rules[#M.rules + 1] = rule
  if not good then
    M.report(place, ('topic["%s"]: a pattern may contain only A-Z a-z 0-9 . _ - * ?'):format(pattern))
  end
  return setmetatable({}, {
    __call = function(_, settings)
      only_while_loading("topic " .. pattern .. " {...}")
      rule.settings = settings
    end,
    __index = function()
      error(("topic(%q) declares a rule while lignum.lua is loaded; to use the topic itself, call topic() inside a "
        .. "function"):format(pattern), 2)
    end,
  })
end

local token_places = {}    -- [name of a token] = where it is declared; [hash] = the same

local function declare_token(name, place)
  local path = ('token "%s"'):format(tostring(name))
  if type(name) ~= "string" or not name:find("^%w[%w._-]*$") or #name > core.limits.topic_name_max then
    M.report(place, path .. ": a name is 1 to 128 of A-Z a-z 0-9 . _ -, and does not begin with . - or _")
  end
  return function(value)
    only_while_loading(path .. " {...}")
    local token, problem = access.declared(name, value)
    local earlier = token and (token_places[name] or token_places[token.hash])
    if earlier then problem = "its name or its hash is already declared, at " .. earlier end
    if problem then return M.report(place, path .. ": " .. problem) end
    token_places[name], token_places[token.hash] = place, place
    M.tokens[#M.tokens + 1] = token
  end
end

local function declare_timer(place, timer, problem)
  if not timer then return M.report(place, problem) end
  M.timers[#M.timers + 1] = timer
end

local function every(...)
  only_while_loading("every")
  local place = core.caller(2)
  declare_timer(place, schedule.every(place, ...))
end

local function cron(...)
  only_while_loading("cron")
  local place = core.caller(2)
  declare_timer(place, schedule.cron(place, ...))
end

local function consume(...)
  only_while_loading("consume")
  local place = core.caller(2)
  declare_timer(place, worker.consume(place, ...))
end

local function after(...)
  if not loading then return schedule.later(...) end
  local place = core.caller(2)
  declare_timer(place, schedule.after(place, ...))
end

-- filter.NAME = function(msg) ... end
local filters = setmetatable({}, {
  __index = M.filters,
  __newindex = function(_, name, fn)
    only_while_loading("filter." .. tostring(name))
    local place = core.caller(2)
    if type(name) ~= "string" or not name:find("^[%a_][%w_]*$") then
      return M.report(place, "filter: a name consists of letters, digits and _")
    end
    if type(fn) ~= "function" then return M.report(place, ("filter.%s: must be a function"):format(name)) end
    if M.filters[name] then return M.report(place, ("filter.%s: is already defined"):format(name)) end
    M.filters[name] = fn
  end,
})

---The verbs by name. `node`, `cluster` and `topic` are functions of the API as well, once lignum.lua is loaded.
---@return table<string, any>
function M.verbs()
  local verbs = {
    listen = listen, every = every, after = after, cron = cron, filter = filters, consume = consume,
  }
  for _, name in ipairs { "store", "limits", "log", "console", "cluster", "node", "cors", "access",
    "durable_streams" } do
    verbs[name] = function(value)
      only_while_loading(name)
      declare(name, value, core.caller(2))
    end
  end
  for _, name in ipairs(NOT_YET) do
    verbs[name] = function() M.report(core.caller(2), name .. ": is not available in this version") end
  end
  function verbs.token(name)
    only_while_loading("token")
    return declare_token(name, core.caller(2))
  end
  function verbs.topic(name)
    if loading then return declare_rule(name, core.caller(2)) end
    return core.topic(name)
  end
  return verbs
end

-- --set ---------------------------------------------------------------------------------------

local function rule_for(pattern)
  for _, rule in ipairs(M.rules) do
    if rule.pattern == pattern then return rule end
  end
  local rule = { pattern = pattern, settings = {}, place = "--set" }
  table.insert(M.rules, 1, rule)
  return rule
end

-- Sets root.a.b.c for the path "a.b.c"; creates missing tables on the way.
local function put(root, path, value)
  local at, last = root, nil
  for name in path:gmatch("[^.]+") do
    if last then
      if type(at[last]) ~= "table" then at[last] = {} end
      at = at[last]
    end
    last = name
  end
  at[last] = value
end

local function set_topic_key(path, text)
  local pattern, rest = path:match('^topic%["?([^%]"]+)"?%]%.(.+)$')
  if not pattern then return M.report("--set " .. path, 'write topic["PATTERN"].key=value') end
  local key, problem = schema.find(schema.topic, rest, ('topic["%s"]'):format(pattern))
  if not key then return M.report("--set " .. path, problem) end
  local rule = rule_for(pattern)
  if type(rule.settings) ~= "table" then rule.settings = {} end
  put(rule.settings, rest, schema.parse(key, text))
end

local function set_key(path, text, seen)
  local key, problem = schema.find(schema.keys, path)
  if not key then return M.report("--set " .. path, problem) end
  local verb, rest = path:match("^([^.]+)%.?(.*)$")
  set_paths[path] = true
  local value = schema.parse(key, text)
  if schema.lists[key.kind] then
    seen[path] = seen[path] or {}
    table.insert(seen[path], text)
    value = seen[path]
  end
  if rest == "" then
    declared[verb] = { value = value, place = "--set" }
    return
  end
  declared[verb] = declared[verb] or { value = {}, place = "--set" }
  if type(declared[verb].value) == "table" then put(declared[verb].value, rest, value) end
end

---Applies the values of the command line, which override the file. An address given several times makes a list.
---@param assignments string[]?  "store.segment.messages=10", 'topic["orders.*"].copies=2'
function M.set(assignments)
  local seen = {}
  for _, assignment in ipairs(assignments or {}) do
    local path, text = assignment:match("^%s*([^=]-)%s*=%s*(.-)%s*$")
    if not path or path == "" then
      M.report("--set " .. assignment, "must be key.path=value")
    elseif path:find("^topic%f[^%w_]") then
      set_topic_key(path, text)
    else
      set_key(path, text, seen)
    end
  end
end

-- Checking the whole draft ---------------------------------------------------------------------

-- Reports a problem of a key at the place that gave it, or that declared its group.
local function complain(path, problem)
  local d = declared[path:match("^[^.]+")]
  local place = d and d.places and d.places[tonumber(path:match("^%w+%.(%d+)"))]
  M.report(set_paths[path] and "--set" or place or d and d.place, path .. ": " .. problem)
end

local function check_values()
  local checked = {}
  for name, key in pairs(schema.keys.fields) do
    checked[name] = declared[name] and schema.check(key, declared[name].value, name, complain)
  end
  return checked
end

local function check_rule(rule, earlier)
  local path = ('topic["%s"]'):format(rule.pattern)
  if rule.settings == nil then
    return M.report(rule.place, ('%s: has no settings; write topic "%s" {}'):format(path, rule.pattern))
  end
  local hidden = earlier[rule.pattern] or earlier["*"]
  if hidden then
    M.report(rule.place, ("%s: is never used, because topic %q at %s comes first"):format(path, hidden.pattern,
      hidden.place))
  end
  earlier[rule.pattern] = rule
  rule.settings = schema.check(schema.topic, rule.settings, path, function(at, problem)
    M.report(rule.place, at .. ": " .. problem)
  end)
  local mode, copies = rule.settings and rule.settings.replication, rule.settings and rule.settings.copies or 1
  if copies > 1 and (mode or "wal") == "wal" then
    M.report(rule.place, ('%s.copies: %d needs replication = "live"; with "wal", the default, a message is '
      .. "acknowledged when the leader's disk has it, so copies must be 1"):format(path, copies))
  end
end

local function host_of(address)
  address = address:gsub("^https://", "")
  return address:match("^%[(.*)%]:%d+$") or address:match("^(.*):%d+$")
end

local function is_wildcard(address)
  local host = host_of(address)
  return host == "0.0.0.0" or host == "::"
end

-- The secret may be in a file of its own, so that lignum.lua can be shared.
local function read_secret(replication)
  if not replication.secret_file then return end
  local path <const> = "cluster.replication.secret_file"
  local text, problem = core.read_file(replication.secret_file)
  if not text then return complain(path, problem) end
  local key <const> = schema.keys.fields.cluster.fields.replication.fields.secret
  replication.secret = schema.check(key, text:match("^%s*(.-)%s*$"), path, complain)
end

-- Others would speak plain HTTP to it.
local function check_advertise(all)
  local advertise, plain = all.node.advertise, false
  for _, listener in ipairs(all.listen) do plain = plain or not listener.tls end
  if advertise and not plain and not advertise:find("^https://") then
    complain("node.advertise", ("every address of listen has TLS: write https://%s"):format(advertise))
  end
end

-- Checks of keys that depend on each other, and the defaults that follow from other keys.
local function check_cluster(all)
  local cluster = all.cluster
  local replication, tls = cluster.replication, cluster.consul.tls
  tls.enabled = tls.enabled or (tls.ca or tls.cert) ~= nil
  if (tls.cert == nil) ~= (tls.key == nil) then
    complain("cluster.consul.tls", "cert and key must be given together")
  end
  if (cluster.forward.cert == nil) ~= (cluster.forward.key == nil) then
    complain("cluster.forward", "cert and key must be given together")
  end
  if cluster.lease >= cluster.consul.ttl then
    complain("cluster.lease", ("must be less than cluster.consul.ttl, which is %g"):format(cluster.consul.ttl))
  end
  read_secret(replication)
  check_advertise(all)
  replication.advertise = replication.advertise or replication.listen
  if #cluster.consul.address == 0 then return end
  if is_wildcard(replication.advertise) then
    complain("cluster.replication.advertise", "must be the address at which other nodes reach " .. replication.listen)
  end
  if is_wildcard(all.node.advertise or all.listen[1].address) then
    complain("cluster.consul.address",
      "other nodes and Consul need an address that reaches this node: set node.advertise")
  end
  if replication.insecure and replication.secret then
    complain("cluster.replication.insecure", "contradicts the secret: remove one of the two")
  elseif not replication.insecure and not (replication.secret or replication.secret_file) then
    complain("cluster.replication.secret_file", "is missing: write what `lignum secret new` prints into a file on "
      .. "every node, and name it here (or set replication.insecure = true: whoever reaches the port then reads and "
      .. "replaces all messages)")
  end
end

-- The default of console.path follows from store.path, so its length is checked once both are known.
local function check_console(path)
  local most <const> = core.limits.console_path_max
  if #path <= most then return end
  complain("console.path", ("the path of a Unix socket has at most %d bytes, and %s has %d"):format(most, path, #path))
end

-- Sorted by line; those of the command line last.
local function errors_in_order()
  table.sort(errors, function(a, b)
    if a.line ~= b.line then return a.line < b.line end
    return a.at < b.at
  end)
  local texts = {}
  for i, e in ipairs(errors) do texts[i] = e.text end
  return texts
end

---Checks everything that was declared. The draft may become live when the list of errors is empty.
---@param checking boolean?   by `lignum check`
---@return string[] errors
function M.finish(checking)
  loading = false
  local checked, earlier = check_values(), {}
  for _, rule in ipairs(M.rules) do check_rule(rule, earlier) end
  if #errors > 0 then return errors_in_order() end
  local values = schema.fill(schema.keys, checked)
  check_console(values.console.path)
  for i, listener in ipairs(values.listen) do
    local path = #values.listen == 1 and "listen" or "listen." .. i
    listeners.check(listener, checking, function(at, problem) complain(path .. at, problem) end)
  end
  check_cluster(values)
  local open = values.access.open
  values.access.mode = open and "open" or open == false and "closed" or "tokens"     -- for C
  if #errors == 0 then M.values = values end
  return errors_in_order()
end

-- What is read only at the start: these keys, and all below them, but not LIVE (doc/operate.md says the same).
local FIXED <const> = {
  "listen", "store.path", "store.files", "store.sync_interval", "store.commit_log_age", "console.path", "node.name",
  "node.advertise", "cluster",
}
local LIVE <const> = {
  ["cluster.lease"] = true, ["cluster.lag_max"] = true, ["cluster.consul.address"] = true,
  ["cluster.consul.token"] = true, ["cluster.forward.ca"] = true, ["cluster.forward.cert"] = true,
  ["cluster.forward.key"] = true,
}

---A line `key=value` for each key that is read only at the start.
---@return string
function M.fixed()
  local lines = {}
  local function add(path, key)
    if LIVE[path] then return end
    for _, name in ipairs(key.order or {}) do add(path .. "." .. name, key.fields[name]) end
    if not key.order then
      local value = M.get(path)
      if path == "listen" then value = listeners.fixed(value) end
      lines[#lines + 1] = path .. "=" .. core.json.encode(value)
    end
  end
  for _, path in ipairs(FIXED) do
    local key = schema.keys
    for name in path:gmatch("[^.]+") do key = key.fields[name] end
    add(path, key)
  end
  return table.concat(lines, "\n") .. "\n"
end

---Takes back what lignum.lua has said with this verb, mistakes in its values included.
---@param verb string
function M.forget(verb)
  declared[verb] = nil
end

---Whether lignum.lua or the command line has used this verb.
---@param verb string
---@return boolean
function M.has(verb)
  return declared[verb] ~= nil
end

---The value at a path such as "store.segment.messages" or "listen.1".
---@param path string
---@return any
function M.get(path)
  if path == "(fixed)" then return M.fixed() end
  local tls = path:match("^%(tls%)%.(%d+)$")
  if tls then return listeners.files(M.values.listen[tonumber(tls)]) end
  local value = path:find("^tokens%.") and { tokens = M.tokens } or M.values
  for name in path:gmatch("[^.]+") do
    if type(value) ~= "table" then return nil end
    value = value[math.tointeger(tonumber(name)) or name]
  end
  return value
end

return M
