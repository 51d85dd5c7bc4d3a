local check = require "check"
local core = require "lignum.core"
local pretty = require "lignum.pretty"
local function test(name, fn) check.test(print, name, fn) end

test("config_a_global_that_is_given_cannot_be_assigned", function()
  local function problem(text) return select(2, check.draft(text)) end
  check.has(problem 'listen = "127.0.0.1:1"', "lignum.lua:1: listen is given, and cannot be assigned")
  check.has(problem "\nstore = { path = 'x' }", "lignum.lua:2: store is given")
  check.has(problem "function topic() end", "for a variable write `local topic`")
  check.has(problem "string = 5", "string is given")
  local world = check.draft [[
route.get("/a", function(req) topic = "t" return 200 end)
route.get("/b", function(req) news = "t" return 200 end)
route.get("/c", function() return 200, type(topic) .. type(_G.topic) .. tostring(next(_G)) end)
]]
  local function answer(path) return pcall(world.handle, check.request("GET", path)) end
  check.has(select(2, answer "/a"), ":1: topic is given, and cannot be assigned; for a variable write `local topic`")
  check.has(select(2, answer "/b"), ":2: news would be a new global; for a variable write `local news`")
  check.equal(select(3, answer "/c"), "functionfunctionnil")
end)

test("config_errors_are_all_told_by_line", function()
  local world, why = check.draft([[
store { segment = { mesages = 5 }, sync_interval = "x" }
topic "orders.*" { copies = 0, retain = { agee = 1 } }
stoer {}
log { level = "loud" }
]])
  check.equal(world, nil)
  local lines = {}
  for line in why:gmatch("[^\n]+") do lines[#lines + 1] = line end
  check.equal(#lines, 6)
  check.has(lines[1], "lignum.lua:1: store.segment.mesages: there is no such key; did you mean store.segment.messages?")
  check.has(lines[2], "lignum.lua:1: store.sync_interval: must be a number of seconds")
  check.has(lines[3], 'lignum.lua:2: topic["orders.*"].copies: must be at least 1')
  check.has(lines[4], 'lignum.lua:2: topic["orders.*"].retain.agee')
  check.has(lines[5], "lignum.lua:3: there is no global stoer; did you mean store?")
  check.has(lines[6], "lignum.lua:4: log.level")
end)

test("config_mistakes_are_named", function()
  check.refused {
    ["on_publsh = function() end"] = "did you mean on_publish?",
    ["function replication() end"] = "belongs in a rule",
    ["tls {}"] = "tls: is not available in this version",
    ['cors { origins = { "null" } }'] = 'cors.origins: must be "SCHEME://HOST", with :PORT unless it is the usual one',
    ['cors { origins = { "http://a/" } }'] = 'cors.origins: must be "SCHEME://HOST"',
    ['cors { origins = { "https://a:443" } }'] = 'cors.origins: must be "SCHEME://HOST"',
    ['cors { origins = 5 }'] = "cors.origins: must be",
    ['node { hosts = { "a:80" } }'] = 'node.hosts: must be a name without a port, not "a:80"',
    ["x = 1"] = "write `local x`",
    ["store {} store {}"] = "is already declared, at lignum.lua:1",
    ['topic "a"'] = "has no settings",
    ['topic "*" {} topic "a" {}'] = "is never used",
    ['topic "a" {} topic "a" {}'] = "is never used",
    ['topic "a" { copies = 99 }'] = 'topic["a"].copies: must be at most 32, not 99',
    ['topic "a" { copies = 2 }'] = 'lignum.lua:1: topic["a"].copies: 2 needs replication = "live"',
    ['topic "a" { replication = "wal", copies = 3 }'] = 'topic["a"].copies: 3 needs replication = "live"',
    ["store { segment = { bytes = 2 * GiB } }"] = "store.segment.bytes: must be at most 1073741824",
    ['topic "a" { segment = { messages = 1 << 40 } }'] = 'topic["a"].segment.messages: must be at most 1000000000',
    ["every(5)"] = "needs a function",
    ['listen "8080"'] = 'must be "HOST:PORT"',
    ["local t = topic('a') local i = t:info()"] = "call topic() inside a function",
    ['route.get("/ping", function() end)'] = "is already declared",
  }
end)

test("config_set_wins_over_the_file_and_is_typed", function()
  local world = check.draft('store { path = "a", segment = { messages = 5 } }\ntopic "a.*" { replication = "live" }', {
    "store.segment.messages=10", "store.sync_interval=2minute", "limits.body=64KiB", "listen=0.0.0.0:1",
    "listen=[::1]:2",
    'topic["a.*"].retain.age=5day', 'topic["a.*"].copies=2', "topic[b].auto_create=false",
  })
  check.equal(world.config.get("store.path"), "a")
  check.equal(world.config.get("store.segment.messages"), 10)
  check.equal(world.config.get("store.sync_interval"), 120)
  check.equal(world.config.get("limits.body"), 65536)
  check.equal({ world.config.get("listen.1.address"), world.config.get("listen.2.address") },
    { "0.0.0.0:1", "[::1]:2" })
  check.equal(world.config.rules[1].settings, { auto_create = false })
  check.equal(world.config.rules[2].settings, { replication = "live", copies = 2, retain = { age = 5 * 86400 } })
  for assignment, words in pairs {
    ["store.segmnt.messages=1"] = "did you mean store.segment?", ["store=1"] = "is a group of keys",
    ["nonsense"] = "must be key.path=value", ["limits.body=many"] = "limits.body: must be a whole number",
    ["store.path=" .. ("x"):rep(200)] = "console.path: the path of a Unix socket has at most 107 bytes",
    ["node.advertise=nonsense"] = '--set: node.advertise: must be "HOST:PORT"',
    ["cluster.replication.advertise=h:0"] = "--set: cluster.replication.advertise: must have the port",
    ["topic.x=1"] = 'topic["PATTERN"].key', ["topic[c].copies=2"] = 'topic["c"].copies: 2 needs replication = "live"',
  } do
    local _, why = check.draft("store {} cluster {}", { assignment })
    check.has(why, words)
  end
end)

test("config_as_delivered_is_the_defaults", function()
  local text = core.read_file(check.root .. "/lignum.lua")
  local delivered, plain = check.draft(text), check.draft(nil)
  check.equal(delivered.config.values, plain.config.values)
  local _, own = check.draft(text)
  local settings = own("lignum.policy").settings("any")
  local _, without = check.draft(nil)
  check.equal(settings, (without("lignum.policy").settings("any")))
end)

test("config_keys_are_all_in_lignum_lua_and_in_operate_md", function()
  local help, schema = require "lignum.help", require "lignum.schema"
  local file = core.read_file(check.root .. "/lignum.lua")
  local page = core.read_file(check.root .. "/doc/operate.md")
  local function visit(path)
    check.has(file, path:match("[^.]+$"))
    check.has(page, "`" .. path .. "`")
  end
  help.each_key(schema.keys, "", visit)
  help.each_key(schema.topic, "topic", visit)
end)

test("config_a_failed_draft_leaves_no_trace", function()
  check.draft("string.format = nil json.encode = nil error('no')")
  check.equal(pretty.format(string.format("%d", 1)), '"1"')
  check.equal(require("lignum.core").json.encode {}, "{}")
end)

test("policy_the_first_match_decides_about_new_topics", function()
  local _, own = check.draft [[
store { durability = "interval" }
topic "a.*" { replication = "live", copies = 2 }
topic "?" { auto_create = false }]]
  local policy = own("lignum.policy")
  local settings, auto = policy.settings("a.b")
  check.equal({ settings.copies, settings.durability, auto }, { 2, "interval", true })
  settings, auto = policy.settings("x")
  check.equal({ settings.copies, auto }, { 1, false })
  check.equal(policy.settings("axb").copies, 1)
  check.equal(policy.settings("a.b", { copies = 3 }).copies, 3)
  check.equal(policy.settings("a.b", { replication = "wal" }).copies, 1)
end)
