local check = require "check"
local core = require "lignum.core"
local function test(name, fn) check.test(print, name, fn) end

local function world_with(text)
  local world, own = check.draft(text)
  if not world then error(own, 0) end
  return world, own
end

local function answer(world, method, path, headers)
  local req = check.request(method, path, headers)
  local status, body, more = world.handle(req)
  return status, body, more, req
end

test("route_trees_take_only_paths_that_begin_with_a_slash", function()
  for _, path in ipairs { "a", "", "a/b" } do
    check.raises("path must begin with /", core.tree, { { method = "GET", path = path, id = 0 } })
  end
end)

test("route_literals_go_before_names_and_a_dead_end_goes_back", function()
  local world = world_with [[
route.get("/a/{x}/c", function(r) return 200, "named " .. r.params.x end)
route.get("/a/b/{y}", function(r) return 200, "literal " .. r.params.y end)
route.get("/a/b/c/d", function() return 200, "exact" end)
route.get("/a/{x}/c/e", function(r) return 200, "back " .. r.params.x end)
]]
  local function body(path) return (select(2, answer(world, "GET", path))) end
  check.equal(body("/a/z/c"), "named z")
  check.equal(body("/a/b/c"), "literal c")
  check.equal(body("/a/b/c/e"), "back b")
  check.equal(body("/a/b/c/d"), "exact")
  check.equal((answer(world, "GET", "/a//c")), 404)
  check.equal((answer(world, "GET", "/a/z")), 404)
  check.equal((answer(world, "GET", "/a/z/c/")), 308)
end)

test("route_thousands_beside_each_other_are_each_found", function()
  local routes = {}
  for i = 1, 3000 do
    routes[2 * i - 1] = { method = "GET", path = ("/a%d/b/{x}"):format(i), id = 0 }
    routes[2 * i] = { method = "GET", path = ("/a/b%d"):format(i), id = 0 }
  end
  routes[#routes + 1] = { method = "GET", path = "/{any}/b/c", id = 0 }
  local tree = core.tree(routes)
  for i = 1, 3000 do
    local route, _, params = core.walk(tree, "GET", ("/a%d/b/%d"):format(i, i))
    check.equal({ route, params.x }, { routes[2 * i - 1], tostring(i) })
    check.equal((core.walk(tree, "GET", ("/a/b%d"):format(i))), routes[2 * i])
  end
  check.equal((core.walk(tree, "GET", "/a3001/b/c")), routes[#routes])
  check.equal((core.walk(tree, "GET", "/b1")), nil)
end)

-- A sanitizer notices where a name too many is noted.
test("route_a_path_longer_than_one_with_most_names_has_none", function()
  local most = ("/{n}"):rep(core.limits.route_names_max)
  local tree = core.tree { { method = "GET", path = most, id = 0 } }
  local path = ("/x"):rep(core.limits.route_names_max)
  check.equal((core.walk(tree, "GET", path)) ~= nil, true)
  for i = 1, 9 do check.equal((core.walk(tree, "GET", path .. ("/x"):rep(i))), nil) end
end)

test("route_params_are_each_requests_own", function()
  local world = world_with [[
route.get("/p/{x}", function(r) local x = r.params.x r.params.x = "spoilt" return 200, x end)]]
  for i = 1, 3000 do
    local path = "/p/" .. i % 1500
    check.equal(select(2, answer(world, "GET", path)), tostring(i % 1500))
  end
  check.equal(select(2, answer(world, "GET", "/p/7")), "7")
end)

test("route_head_is_get_options_lists_and_others_are_405", function()
  local world = world_with "route.get('/x', function() return 200, 'x' end) route.post('/x', function() return 201 end)"
  check.equal((answer(world, "HEAD", "/x")), 200)
  local status, _, headers = answer(world, "OPTIONS", "/x")
  check.equal({ status, headers.Allow }, { 204, "GET, HEAD, OPTIONS, POST" })
  status, _, headers = answer(world, "DELETE", "/x")
  check.equal({ status, headers.Allow }, { 405, "GET, HEAD, OPTIONS, POST" })
end)

test("route_declared_twice_names_both_places", function()
  local _, why = check.draft [[
route.get("/x/{a}", function() end)
route.get("/x/{b}", function() end)]]
  check.has(why, "lignum.lua:2: route GET /x/{b} is already declared, at lignum.lua:1")
end)

test("route_bad_declarations_are_refused", function()
  check.refused {
    ['route.get("x", print)'] = "must begin with /", ['route.get("/x")'] = "needs a function",
    ['route.get("/a{x}", print)'] = "whole segment", ['route.get("/{}", print)'] = "whole segment",
    ['route.get("/a?b", print)'] = "? # and space are not allowed",
  }
end)

test("route_handlers_may_fail_with_message_and_code", function()
  local world = world_with [[
route.get("/fails", function() return nil, "no such thing", "not_found" end)
route.get("/nothing", function() end)]]
  local status, body = answer(world, "GET", "/fails")
  check.equal({ status, body.code, body.detail }, { 404, "not_found", "no such thing" })
  check.raises("returned no status", answer, world, "GET", "/nothing")
end)

test("authorize_lets_only_true_pass", function()
  local function with(result) return world_with("function authorize(req) return " .. result .. " end") end
  check.equal((answer(with("true"), "GET", "/ping")), 200)
  check.equal((answer(with("false"), "GET", "/ping")), 401)
  check.equal((answer(with("nil"), "GET", "/ping", { authorization = "x" })), 403)
  check.equal((answer(with('false, "forbidden", "no"'), "GET", "/ping")), 403)
  check.raises("authorize must return true, false or { user = }", answer, with('"yes"'), "GET", "/ping")
  check.raises("a user that is a string", answer, with("{ user = 5 }"), "GET", "/ping")
  check.equal((answer(with('{ user = "al" }'), "GET", "/ping")), 200)
  check.raises("boo", answer, with('error("boo")'), "GET", "/ping")
end)

test("route_each_of_the_brokers_own_says_what_it_does", function()
  local _, own = world_with(nil)
  for _, r in ipairs(own("lignum.route").list()) do
    if r.action == "own" then error(("%s %s has no action for authorize"):format(r.method, r.path)) end
  end
end)

test("openapi_and_the_routes_are_the_same", function()
  local _, own = world_with(nil)
  local paths, described = own("routes.openapi").document.paths, {}
  for path, item in pairs(paths) do
    for method in pairs(item) do
      if method ~= "parameters" then described[method:upper() .. " " .. path] = true end
    end
  end
  local declared = {}
  for _, r in ipairs(own("lignum.route").list()) do declared[r.method .. " " .. r.path] = true end
  check.equal(described, declared)
end)

test("forward_takes_every_header_that_a_write_has", function()
  local _, own = check.draft(nil)
  local forward, count = own("lignum.forward"), 0
  for _, path in pairs(own("routes.openapi").document.paths) do
    for method, operation in pairs(path) do
      for _, parameter in ipairs(method ~= "get" and operation.parameters or {}) do
        local name = parameter["in"] == "header" and parameter.name:lower()
        if name and name ~= "lignum-forward" then     -- which speaks to the node that it reaches
          check.equal({ name, forward.forwards(name) }, { name, true })
          count = count + 1
        end
      end
    end
  end
  check.equal(count >= 7, true)
  for _, name in ipairs { "host", "connection", "expect", "te", "lignum-forward", "lignum-forwarded", "set-cookie" } do
    check.equal({ name, forward.forwards(name) }, { name, false })
  end
end)
