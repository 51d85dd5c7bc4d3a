local check = require "check"
local core = require "lignum.core"
local function test(name, fn) check.test(print, name, fn) end

local CLUSTER <const> = [[
cluster { name = "n1", consul = { address = "127.0.0.1:8500" }, replication = { insecure = true } }
]]

local function fingerprint(text, set)
  local world, why = check.draft(text, set)
  if not world then error(why, 2) end
  return world.fingerprint
end

local BASE <const> = CLUSTER .. [[
listen "127.0.0.1:8080"
local LIMIT = 5
topic "orders.*" { retain = { age = LIMIT * day } }
function on_publish(msg) if #msg.payload > LIMIT then return reject("too long") end end
route.get("/who", function() return 200, node.hostname() end)
]]

test("fingerprint_only_nodes_of_a_cluster_have_one", function()
  check.equal(fingerprint("function on_publish() end"), nil)
  check.equal(fingerprint(BASE):match("^%x%x%x%x%x%x%x%x$") ~= nil, true)
  check.equal(fingerprint(BASE, { "cluster.same_config=false" }), nil)
end)

test("fingerprint_what_is_a_node_s_own_and_how_it_is_written_does_not_count", function()
  local base = fingerprint(BASE)
  for _, change in ipairs {
    { '"n1"', '"n2"' }, { "8080", "8081" }, { '"127.0.0.1:8080"', '{ "127.0.0.1:8080", "127.0.0.1:8082" }' },
    { 'listen "127.0.0.1:8080"', 'listen{ { address = "127.0.0.1:8080" } }' },
    { "local LIMIT = 5", "-- five\n--[==[ at most\n]] ]==]\nlocal  LIMIT=5" },
    { 'listen "', 'store { path = "other", segment = { messages = 7 } }\nlisten "' },
    { 'listen "', 'node { name = os.getenv "HOSTNAME", hosts = { "a" } } limits { body = 1 * MiB }\nlisten "' },
    { 'listen "', 'log { level = "debug" }\nconsole { path = [[/tmp/c.sock]] }\nlisten "' },
    { 'listen "127.0.0.1:8080"', 'listen [[127.0.0.1:8083]]' },
  } do
    local text, count = BASE:gsub(change[1], function() return change[2] end)
    check.equal(count > 0, true)
    if fingerprint(text) ~= base then error("it differs after " .. change[2]) end
  end
end)

test("fingerprint_what_scripts_and_topics_are_told_counts", function()
  local seen = { [fingerprint(BASE)] = "the first" }
  local function differs(what, text, set)
    local f = fingerprint(text, set)
    if seen[f] then error(("%s is as %s"):format(what, seen[f])) end
    seen[f] = what
  end
  for _, change in ipairs {
    { "LIMIT = 5", "LIMIT = 6" }, { "too long", "too  long" }, { "payload > LIMIT", "payload >= LIMIT" },
    { "orders", "bills" }, { '"/who"', "'/who'" }, { "node.hostname", "node.info" },
    { "route.get", "route.post" }, { '200, node', '200, "--[[", node' }, { '"n1"', '"n1", lease = 9' },
    { 'listen "', 'access { stale = 5 } listen "' },
  } do
    local text, count = BASE:gsub(change[1], function() return change[2] end)
    check.equal(count > 0, true)
    differs(change[2], text)
  end
  differs("--set topic", BASE, { 'topic["orders.*"].dedupe.age=7' })
  differs("--set cors", BASE, { "cors.origins=https://a.example" })
end)

test("fingerprint_files_that_belong_to_lignum_lua_count", function()
  local path = core.unsafe.tmpname()
  local function with(text)
    do
      local file <close> = core.unsafe.open(path, "w")
      file:write(text)
    end
    return fingerprint(BASE .. ("include %q"):format(path))
  end
  local one, two, same = with("local x = 1"), with("local x = 2"), with("local x  = 1 -- one")
  core.unsafe.remove(path)
  check.equal(one == two, false)
  check.equal(one, same)
end)
