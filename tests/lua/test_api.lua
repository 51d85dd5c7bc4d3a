local check = require "check"
local core = require "lignum.core"
local help = require "lignum.help"
local function test(name, fn) check.test(print, name, fn) end

-- Functions that only lignum.lua can call or define.
local NOT_HERE = {
  every = true, on_publish = true, authorize = true, may_lead = true, on_leader_change = true,
  ship = true, cron = true, include = true, consume = true, on_retry = true, on_published = true,
  on_start = true, on_unload = true,
}
local OWNERS = {
  Group = core.Group,
  Topic = core.Topic, Request = core.Request, Batch = core.Batch, Range = core.Range, core = core, base64 = core.base64,
  Key = core.Key, Dict = core.Dict, Meter = core.Meter, Held = core.Held, Signal = core.Signal,
}

-- Tables of functions in lignum.core.
local LIBRARIES = {
  json = true, base64 = true, node = true, time = true, say = true, crypto = true, shared = true, metrics = true,
  tasks = true,
}
-- Of these every example is a statement that runs, and checks itself.
local RUN = {
  crypto = true, Key = true, jwt = true, webhook = true, shared = true, Dict = true, metrics = true, Meter = true,
  tasks = true, Held = true, Signal = true, ["after"] = true, ["spawn"] = true, ["lock"] = true, ["signal"] = true,
  ["Topic:each"] = true, ["Topic:trim"] = true,
}

local function running(entry)
  local name = entry.name:match("[%w_]+$")
  if entry.owner == "" then return _G[name] end
  local owner = OWNERS[entry.owner] or _G[entry.owner]
  return type(owner) == "table" and owner[name]
end

test("api_every_described_function_is_there", function()
  for _, e in ipairs(help.entries()) do
    if e.kind == "function" and not NOT_HERE[e.name] and type(running(e)) ~= "function" then
      error("api.lua describes " .. e.name .. ", which does not exist")
    end
  end
end)

test("api_every_function_of_the_core_is_described", function()
  local described = {}
  for _, e in ipairs(help.entries()) do
    described[e.name] = true
    for _, also in ipairs(e.also) do described[also:match("^[%w_.:]+")] = true end
  end
  for _, name in ipairs { "Topic", "Group", "Request", "Batch", "Range", "Key", "Dict", "Meter", "Held", "Signal" } do
    for method in pairs(OWNERS[name]) do
      if not described[name .. ":" .. method] then error(name .. ":" .. method .. " is not in api.lua") end
    end
  end
  for name, value in pairs(core) do
    if type(value) == "function" and not (described[name] or described["core." .. name]) then
      error("core." .. name .. " is not in api.lua")
    end
    if type(value) == "table" and LIBRARIES[name] then
      for field, inner in pairs(value) do
        if type(inner) == "function" and not described[name .. "." .. field] then
          error(name .. "." .. field .. " is not in api.lua")
        end
      end
    end
  end
end)

test("api_every_example_is_lua", function()
  for _, e in ipairs(help.entries()) do
    if e.kind == "function" and not e.example then error(e.name .. " has no example") end
    if e.example and not (load("return " .. e.example) or load(e.example)) then
      error(e.name .. " has an example that is not Lua: " .. e.example)
    end
  end
end)

-- What the examples find beside the globals.
local SCENE = setmetatable({
  PEM = "-----BEGIN PRIVATE KEY-----\n"
    .. "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n",
  SECRET = ("s"):rep(32), WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
}, { __index = _G })

test("api_every_example_of_the_standard_tables_runs", function()
  core.topic("orders"):append("one")
  local runs = 0
  for _, e in ipairs(help.entries()) do
    if (RUN[e.owner] or RUN[e.name]) and e.example then
      local chunk = load(e.example, "=" .. e.name, "t", SCENE)
      if not chunk then error(e.name .. " has an example that is not a statement") end
      chunk()
      runs = runs + 1
    end
  end
  if runs < 10 then error("only " .. runs .. " examples have run") end
end)

-- Verbs, routes and hooks, whose examples are files by themselves.
test("api_every_example_of_lignum_lua_is_a_valid_file", function()
  local taken = 0
  for _, e in ipairs(help.entries()) do
    local where = e.where or ""
    if (where:find("^lignum.lua") or where:find("^you define it in lignum.lua")) and e.name ~= "include" then
      local world, why = check.draft(e.example)
      if not world then error(("the example of %s is refused: %s"):format(e.name, why)) end
      taken = taken + 1
    end
  end
  if taken < 12 then error("only " .. taken .. " examples were taken") end
end)

test("api_error_codes_are_those_of_the_table", function()
  for _, e in ipairs(help.entries()) do
    for code in (e.errors or ""):gmatch("%S+") do
      if not core.errors[code] then error(e.name .. " names the code " .. code) end
    end
  end
end)

test("api_the_page_is_made_from_it", function()
  local page = core.read_file(check.root .. "/doc/api.md")
  if page ~= help.markdown(help.entries()) then error("doc/api.md is out of date: run make doc") end
end)

test("http_md_has_every_error", function()
  local page = core.read_file(check.root .. "/doc/http.md")
  for code, e in pairs(core.errors) do check.has(page, ("| `%s` | %d |"):format(code, e.status)) end
end)

test("time_clock_goes_on_by_what_has_passed", function()
  local began, wall = core.time.clock(), core.now()
  core.sleep(0.05)
  local passed = core.time.clock() - began
  if passed < 0.045 or passed > 5 then error(("%g s after a sleep of 0.05"):format(passed)) end
  if math.abs(began - wall) < 1e8 then error("it must not be taken for a date") end
end)
