local check = require "check"
local limits = require("lignum.core").limits
local view = require "lignum.view"
local function test(name, fn) check.test(print, name, fn) end

local KEY <const> = "service/lignum/key/master"
local ID <const> = ("0123456789abcdef"):rep(2)

local function member(name) return name .. ":" .. ID end

local function register(o)
  local r = { cluster = ID, epoch = 3, version = 7, leader = member("a"), members = { member("a"), member("b") },
    unclean = 0 }
  for name, value in pairs(o or {}) do r[name] = value end
  return r
end

local function entry(name, o)
  local e = {
    member = member(name), name = name, http = "127.0.0.1:8080", replication = "127.0.0.1:8126", role = "follower",
    position = { epoch = 1, messages = 10 }, eligible = true, vacancy = 4,
  }
  for key, value in pairs(o or {}) do e[key] = value end
  return e
end

test("view_a_register_reads_back_as_itself", function()
  local r = register()
  check.equal(view.register(view.register_text(r)), r)
  check.equal(view.same_register(r, register()), true)
  check.equal(view.same_register(r, register { version = 8 }), false)
  local full = register { unclean = 2, lost = { epoch = 4, version = 9, leader = ID } }
  check.equal(view.register(view.register_text(full)), full)
  check.equal(view.same_register(full, register { unclean = 2 }), false)
  check.equal(view.same_register(register { unclean = 2 }, r), false)
end)

test("view_what_is_no_register_is_none", function()
  for _, text in ipairs {
    "", "null", "[]", "garbage", '{"cluster":"x"}', view.register_text(register { members = {} }),
    view.register_text(register { leader = "a" }), view.register_text(register { cluster = "abc" }),
    view.register_text(register { members = { "a b:" .. ID } }),
    view.register_text(register { leader = "a:" .. ID .. "0" }),
    view.register_text(register { members = { member("a"), member("a") } }),
    view.register_text(register { leader = member(("n"):rep(65)) }),
    view.register_text(register { cluster = ID:upper() }),
    (view.register_text(register()):gsub('"epoch":3', '"epoch":-3')),
    (view.register_text(register()):gsub('"epoch":3', '"epoch":"3"')),
    (view.register_text(register()):gsub('"version":7', '"version":7.5')),
    view.register_text(register { unclean = 4 }),
    (view.register_text(register { unclean = 2 }):gsub('"unclean":2', '"unclean":"2"')),
    (view.register_text(register()):gsub("}$", ',"lost":7}')),
    view.register_text(register { lost = { epoch = 0, version = 9, leader = ID } }),
    view.register_text(register { lost = { epoch = 4, version = 9, leader = "x" } }),
  } do
    check.equal(view.register(text), nil)
  end
end)

test("view_older_goes_by_epoch_then_version_within_one_cluster", function()
  local r = register()
  for _, o in ipairs { { version = 6 }, { epoch = 2 }, { epoch = 2, version = 9 } } do
    check.equal({ view.is_older(register(o), r), view.is_older(r, register(o)) }, { true, false })
  end
  check.equal({ view.is_older(r, register()), view.is_older(nil, r), view.is_older(r, nil) }, { false, true, false })
  check.equal(view.is_older(register { epoch = 1, cluster = ("f"):rep(32) }, r), false)
end)

test("view_a_leader_is_gone_for_its_own_host_or_where_another_node_says_so_too", function()
  local function seen(host, o)
    local leader = entry("a", { replication = host .. ":8126", session = "5-a" })
    local nodes = { a = leader, b = entry("b"), c = entry("c", o) }
    return { lock = { session = "5-a", value = "" }, index = 0, nodes = nodes }
  end
  local me = { name = "b", replication = "10.0.0.2:8126" }
  for _, case in ipairs {
    { "10.0.0.2", {}, true }, { "10.0.0.1", {}, false }, { "10.0.0.1", { refused = "5-a" }, true },
    { "10.0.0.1", { refused = "4-a" }, false },
    { "10.0.0.1", { refused = "5-a", name = "a", member = member("a") }, false },
  } do
    local host, o, gone = table.unpack(case)
    check.equal(view.is_gone(seen(host, o), me), gone)
  end
  local own = seen("10.0.0.1", {})
  own.nodes.b.refused = "5-a"                      -- this node's own report does not count as a second one
  check.equal(view.is_gone(own, me), false)
  check.equal(view.entry(view.entry_text(entry("a", { refused = "5-a" }))).refused, "5-a")
  check.equal(view.entry((view.entry_text(entry("a", { refused = "5-a" })):gsub("5%-a", "x y"))).refused, nil)
end)

test("view_an_address_is_no_longer_than_the_core_takes", function()
  local function with(port) return ("h"):rep(limits.node_address_max - #port) .. port end
  for _, name in ipairs { "http", "replication" } do
    check.equal(view.entry(view.entry_text(entry("a", { [name] = with(":80") })))[name], with(":80"))
    check.equal(view.entry(view.entry_text(entry("a", { [name] = "h" .. with(":80") }))), nil)
  end
  for _, text in ipairs { "node { advertise = %q }", "cluster { replication = { advertise = %q } }", "listen %q" } do
    check.equal(check.draft(text:format(with(":80"))) ~= nil, true)
    check.equal(check.draft(text:format("h" .. with(":80"))), nil)
  end
end)

test("view_takes_keys_apart_and_believes_nobody", function()
  local function key(name, value, session) return { key = name, value = value, session = session, index = 5 } end
  local v = view.of({
    key(KEY, "garbage", "s1"), key(KEY .. "/synced", view.register_text(register())),
    key(KEY .. "/nodes/a", view.entry_text(entry("a")), "s1"), key(KEY .. "/nodes/b", view.entry_text(entry("b"))),
    key(KEY .. "/nodes/c", view.entry_text(entry("other")), "s3"), key(KEY .. "/nodes/d", "{}", "s4"),
    key(KEY .. "/nodes/e", view.entry_text(entry("e", { http = "a/b" })), "s5"), key(KEY .. "2", "another's", "s6"),
  }, KEY)
  check.equal(v.lock, { session = "s1", value = "garbage" })
  check.equal({ v.index, v.register, v.problem }, { 5, register() })
  check.equal({ v.nodes.a.session, v.nodes.b, v.nodes.c, v.nodes.d, v.nodes.e }, { "s1" })
  check.equal(view.holder(v).name, "a")
  local empty = view.of({}, KEY)
  check.equal({ empty.index, empty.register, empty.lock.session }, { 0 })
  check.has(view.of({ key(KEY .. "/synced", "x") }, KEY).problem, "is not a register")
end)

test("view_the_furthest_goes_first_and_the_silent_are_waited_for", function()
  local me = entry("b", { position = { epoch = 2, messages = 10 } })
  local function rank(others)
    local nodes, r = { b = me }, register { members = { member("a"), member("b"), member("c") } }
    for _, e in ipairs(others) do nodes[e.name] = e end
    return { view.rank({ nodes = nodes, register = r }, me) }
  end
  check.equal(rank {}, { 0, true })
  check.equal(rank { entry("a", { position = { epoch = 1, messages = 99 } }) }, { 0, true })
  check.equal(rank { entry("a", { position = { epoch = 2, messages = 11 } }) }, { 1, true })
  check.equal(rank { entry("a", { position = { epoch = 2, messages = 10 } }) }, { 1, true })
  check.equal(rank { entry("c", { position = { epoch = 2, messages = 10 } }) }, { 0, true })
  check.equal(rank { entry("a", { position = { epoch = 9, messages = 0 }, eligible = false }) }, { 0, true })
  check.equal(rank { entry("a", { vacancy = 3 }) }, { 0, false })
  check.equal(rank { entry("z", { vacancy = 3 }) }, { 0, true })      -- not a member, so it cannot claim
end)

test("view_who_reaches_fewer_members_goes_later_and_only_one_that_may_reach_more_is_better", function()
  local function seen(unreached_by_b, session_of_c)
    local set = register { members = { member("a"), member("b"), member("c") } }
    return { register = set, lock = {}, index = 0, nodes = {
      a = entry("a", { session = "1-a", unreached = { "1-c" } }), c = entry("c", { session = session_of_c }),
      b = entry("b", { session = "1-b", unreached = unreached_by_b, position = { epoch = 1, messages = 5 } }),
    } }
  end
  local connected = { [member("a")] = true, [member("b")] = true }
  local sessions, names = view.unreached(seen(nil, "1-c"), connected)
  check.equal({ sessions, names }, { { "1-c" }, { "c" } })
  check.equal({ view.unreached(seen(nil, nil), connected) }, { {}, {} })               -- it is gone from Consul
  check.equal(view.better(seen(nil, "1-c"), "a", connected), { "b" })
  check.equal(view.better(seen({ "1-c" }, "1-c"), "a", connected), {})              -- b has tried
  check.equal(view.better(seen({ "0-c" }, "1-c"), "a", connected), { "b" })         -- that was an earlier process
  local alone = { [member("a")] = true }
  check.equal(view.better(seen(nil, "1-c"), "a", alone), { "b", "c" })              -- they may reach each other
  check.equal(view.better(seen({ "1-c" }, "1-c"), "a", alone), { "c" })             -- b reaches neither a nor c
  check.equal(view.better(seen(nil, nil), "a", alone), {})                          -- b does not reach a
  local v = seen(nil, "1-c")
  check.equal({ (view.rank(v, v.nodes.a)), (view.rank(v, v.nodes.b)) }, { 2, 1 })      -- c has the longer log
  v = seen({ "1-c" }, "1-c")
  check.equal({ (view.rank(v, v.nodes.a)), (view.rank(v, v.nodes.b)) }, { 1, 2 })
  check.equal(view.entry(view.entry_text(v.nodes.a)).unreached, { "1-c" })
  for _, wrong in ipairs { '"x"', '["x y"]', "[5]", "[]" } do
    check.equal(view.entry((view.entry_text(v.nodes.a):gsub('%["1%-c"%]', wrong))).unreached, nil)
  end
end)

test("view_a_leader_is_silent_only_if_every_other_node_says_so", function()
  local function silent(b, c)
    return view.is_silent { lock = { session = "1-a" }, nodes = {
      a = entry("a", { session = "1-a" }), b = b and entry("b", { session = "1-b", silent = b }),
      c = c and entry("c", { session = "1-c", silent = c }),
    } }
  end
  check.equal({ silent("1-a", "1-a"), silent("1-a"), silent("1-a", ""), silent("1-a", "0-a"), silent() },
    { true, true, false, false, false })
  check.equal(view.is_silent { lock = {}, nodes = { b = entry("b", { silent = "1-a" }) } }, false)
  local text = view.entry_text(entry("b", { silent = "1-a" }))
  check.equal({ view.entry(text).silent, view.entry((text:gsub("1%-a", "x y"))).silent }, { "1-a", nil })
end)

local SECRET <const> = "00112233445566778899aabbccddeeff"

test("cluster_keys_are_checked_and_belong_together", function()
  check.refused {
    ["cluster { consul = { adress = 'x:1' } }"] = "did you mean cluster.consul.address?",
    ["cluster { consul = { address = 'x' } }"] = 'cluster.consul.address: must be "HOST:PORT"',
    ["cluster { consul = { ttl = 5 } }"] = "cluster.consul.ttl: must be at least 10",
    ["cluster { lease = 15 }"] = "cluster.lease: must be less than cluster.consul.ttl, which is 15",
    ["cluster { consul = { key = '/x' } }"] = "cluster.consul.key: must be a path",
    ["cluster { consul = { key = 'a//b' } }"] = "cluster.consul.key: must not contain an empty part",
    ["cluster { consul = { key = 'a/./b' } }"] = "cluster.consul.key: must not contain",
    ["cluster { consul = { key = 'a/../b' } }"] = "cluster.consul.key: must not contain",
    ["cluster { consul = { key = '..' } }"] = "cluster.consul.key: must not contain",
    ["cluster { consul = { tls = { cert = 'x' } } }"] = "cert and key must be given together",
    ["cluster { consul = { address = 'x:1' } }"] = "cluster.replication.secret_file: is missing: write what",
    ["cluster { consul = { address = 'x:1' }, replication = { listen = '0.0.0.0:8126', insecure = true } }"] =
      "cluster.replication.advertise: must be the address",
    ["cluster { replication = { secret = 's' } }"] = "cluster.replication.secret: must be 32 to 256 hexadecimal digits",
    ["cluster { replication = { secret = '00112233445566778899aabbccddee' } }"] = "(at least 128 random bits)",
    ["cluster { replication = { secret = 'correct horse battery staple, again' } }"] = "`lignum secret new` prints one",
    ["cluster { consul = { address = 'x:1' }, replication = { insecure = true, secret = '" .. SECRET .. "' } }"] =
      "cluster.replication.insecure: contradicts the secret",
    ["listen '0.0.0.0:80' cluster { consul = { address = 'x:1' } }"] = "set node.advertise",
    ["cluster { replication = { secret_file = '/nowhere/at/all' } }"] = "cluster.replication.secret_file",
    ["topic '*' { replication = 'lively' }"] = "did you mean live?",
    ["may_lead = 5"] = "may_lead: must be a function",
    ["function may_laed() end"] = "did you mean may_lead?",
  }
end)

-- A file with this content as secret_file; the errors, or the secret.
local function secret_from_file(content)
  local unsafe = require("lignum.core").unsafe
  local path = unsafe.tmpname()
  local file <close> = assert(unsafe.open(path, "w"))
  assert(file:write(content))
  file:close()
  local world, why = check.draft(("cluster { consul = { address = 'x:1' }, replication = { secret_file = %q } }")
    :format(path))
  unsafe.remove(path)
  return world and world.config.values.cluster.replication.secret, why
end

test("cluster_a_secret_may_be_in_a_file_and_has_the_same_form_there", function()
  check.equal(secret_from_file(SECRET .. "\n"), SECRET)
  for content, words in pairs { [""] = "must be 32 to 256", ["swordfish\n"] = "must be 32 to 256" } do
    local _, why = secret_from_file(content)
    check.has(why, "cluster.replication.secret_file: " .. words)
    check.equal(why:find("swordfish"), nil)
  end
end)

test("cluster_set_makes_lists_and_the_name_is_the_nodes", function()
  local world = check.draft("cluster { name = 'n7', consul = { address = 'a:1', tls = { ca = 'f' } } }",
    { "cluster.consul.address=b:1", "cluster.consul.address=c:1", "cluster.replication.listen=127.0.0.1:7",
      "cluster.replication.secret=" .. SECRET })
  local cluster = world.config.values.cluster
  check.equal(cluster.consul.address, { "b:1", "c:1" })
  check.equal({ cluster.consul.tls.enabled, cluster.replication.advertise }, { true, "127.0.0.1:7" })
  check.equal(world.config.get("node.name"), "n7")
  check.equal(check.draft("cluster { name = 'x' } node { name = 'y' }").config.get("node.name"), "y")
end)

test("replication_of_a_rule_may_be_a_function", function()
  local _, own = check.draft [[
topic "f.*" {
  copies = 2,
  replication = function(t, state) return t.name == "f.live" and state.role == "alone" and "live" or "wal" end,
}
topic "bad" { replication = function() return "both" end }
topic "*" { replication = "live" }]]
  local policy = own("lignum.policy")
  local function mode(name, given)
    local settings = policy.settings(name, given)
    return { settings.replication, settings.copies }
  end
  check.equal(mode("f.live"), { "live", 2 })
  check.equal(mode("f.other"), { "wal", 1 })
  check.equal(mode("f.live", { replication = "wal" }), { "wal", 1 })
  check.equal(policy.chosen("f.live"), { replication = "live", copies = 2 })
  check.equal(policy.chosen("f.other"), { replication = "wal", copies = 1 })
  check.equal({ policy.chosen("x"), policy.has_functions() }, { nil, true })
  check.raises('must return "wal" or "live", not "both"', policy.settings, "bad")
end)

-- Loads a separate copy of a module, which requires these modules instead of the real ones.
local function loaded_with(name, modules)
  local text = assert(io.open(check.root .. "/scripts/lignum/" .. name .. ".lua")):read("a")
  local env = setmetatable({ require = function(wanted) return modules[wanted] end }, { __index = _G })
  return assert(load(text, "@" .. name, "t", env))()
end

test("election_takes_no_error_for_the_end_of_the_broker", function()
  local stopping, left, problem = false, 0, "not enough memory"
  local cluster = {
    wait = function() return not stopping and 1 or nil, "the broker stops", stopping and "stopping" or nil end,
    status = function() return { role = "follower" } end,
  }
  local own = { leave = function() left = left + 1 end }
  local election = loaded_with("election", {
    ["lignum.core"] = {
      cluster = cluster, say = {}, time = { clock = os.clock }, sleep = function() error(problem, 0) end,
    },
    ["lignum.consul"] = { new = function() end }, ["lignum.member"] = { new = function() return own end },
    ["lignum.synced_register"] = { use = function() end }, ["lignum.roster"] = {}, ["lignum.notice"] = {},
    ["lignum.view"] = {},
  })
  election.use { config = { values = { cluster = { consul = { address = { "a:1" }, ttl = 15 }, lease = 10 } } } }
  local renew
  for _, duty in ipairs(election.start()) do
    if duty.where:find("renew") then renew = duty.fn end
  end
  check.raises("not enough memory", renew)
  check.equal(left, 0)
  stopping, problem = true, "the broker is shutting down"
  renew()
  check.equal(left, 1)
end)

test("replication_all_that_is_due_goes_out_however_many_topics_there_are", function()
  local waiting, shipped, asked = {}, 0, 0
  for i = 1, 2500 do waiting[i] = { name = "t" .. i } end
  for _, t in ipairs(waiting) do
    t.ship = function(_, offset) shipped, t.shipped = shipped + 1, offset end
  end
  local function pending(timeout)   -- like the core: at most 1000 topics, which then move to the end
    if timeout > 0 then asked = asked + 1 end
    if asked > 1 then return nil, "the broker stops", "stopping" end
    local list, left = {}, {}
    for _, t in ipairs(waiting) do
      if not t.shipped then table.insert(#list < 1000 and list or left, t) end
    end
    for i, t in ipairs(list) do
      left[#left + 1] = t
      list[i] = { topic = t, tail = 5, disk = 5, sealed = 0, shipped = t.shipped or 0 }
    end
    waiting = left
    return list
  end
  local told = {}
  local say = { info = function(text) told[#told + 1] = text end }
  local core = { cluster = { pending = pending }, say = say, sleep = function() end, time = { clock = os.clock } }
  local replication = loaded_with("replication", {
    ["lignum.core"] = core, ["lignum.roster"] = { status = function() return { role = "leader" } end },
    ["lignum.notice"] = { clear = function() end },
  })
  replication.use { hooks = { get = function() end }, config = { values = { cluster = { sync_interval = 60 } } } }
  replication.duties()[1].fn()
  check.equal({ shipped, #told }, { 2500, 1 })
  check.has(told[1], 'topic t1 is replicated in mode "wal"')
end)

test("notice_lines_that_others_can_cause_are_limited_and_counted", function()
  local now, told = 100, {}
  local say = { warn = function(text) told[#told + 1] = text end }
  local notice = loaded_with("notice", {
    ["lignum.core"] = { say = say, time = { clock = function() return now end } },
  })
  local function flap(times)
    for i = 1, times do notice.set("consul", "Consul answers " .. i % 2) end
  end
  flap(12)
  notice.set("other", "another subject")
  check.equal({ #told, told[6] }, { 6, "cluster: another subject" })
  now = now + 10
  flap(3)      -- lines were left out before: there is room for one
  check.equal({ told[7], #told }, { "cluster: left out 7 more lines about: consul", 8 })
  now = now + 10
  notice.line("consul", "once")
  check.equal({ told[9], told[10] }, { "cluster: left out 2 more lines about: consul", "cluster: once" })
  now = now + 10
  for i = 1, 6 do notice.line("consul", "line " .. i) end
  check.equal(#told, 10 + 5)
end)

test("view_a_full_disk_is_told_and_comes_after_one_with_room", function()
  local full = entry("b", { full = true, config = "0badcafe" })
  check.equal(view.entry(view.entry_text(full)), full)
  local nodes = { b = full, c = entry("c"), d = entry("d", { member = "d:" .. ("f"):rep(32) }) }
  for name, node in pairs(nodes) do node.session = "00-" .. name end
  local function follower(name, o)
    local f = { name = name, member = member(name), in_set = true, connected = true }
    for key, value in pairs(o or {}) do f[key] = value end
    return f
  end
  local seen = { nodes = nodes, lock = {}, register = register { members = { member("b"), member("c") } } }
  check.equal(view.with_room(seen, { follower "b", follower "c", follower "d", follower "e" }), { "c" })
  check.equal(view.with_room(seen, { follower("c", { in_set = false }) }), {})
  check.equal(view.with_room(seen, { follower("c", { connected = false }) }), {})
  check.equal({ view.rank(seen, nodes.b) }, { 1, true })
  check.equal({ view.rank(seen, nodes.c) }, { 0, true })
end)
