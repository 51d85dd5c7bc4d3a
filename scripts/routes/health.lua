--- /v1/health: what is wrong, since when, and what to do; /v1/hooks: the calls of lignum.lua's functions.
local core = require "lignum.core"
local hooks = require "lignum.hooks"
local http = require "lignum.http"
local route = require "lignum.route"
local roster = require "lignum.roster"

local json, time = core.json, core.time

local M = {}

---`GET /v1/health`
function M.get()
  local report, info = core.call "health", core.node.info()
  local leader, problems = roster.status().leader, json.array {}
  for i, p in ipairs(report.problems) do
    p.since = time.format(p.since)
    problems[i] = p
  end
  return 200, {
    status = report.status, time = time.format(report.time), node = info.name, version = info.version,
    role = info.role, epoch = info.epoch, leader = leader and leader.name or json.null, uptime = info.uptime,
    problems = problems,
  }
end

local function entry_of(c)
  return {
    kind = c.kind, name = c.name, calls = c.calls, errors = c.errors, seconds = c.seconds, p50 = c.p50, p99 = c.p99,
    last_error = c.problem and { time = time.format(c.problem_time), text = http.printable(c.problem) } or json.null,
  }
end

---`GET /v1/hooks`
function M.hooks()
  local list, seen = json.array {}, {}
  for _, c in ipairs(core.calls()) do
    local entry = entry_of(c)
    entry.place = c.kind == "hook" and select(2, hooks.get(c.name)) or nil
    list[#list + 1], seen[c.name] = entry, true
  end
  for name, place in pairs(hooks.places()) do
    if not seen[name] then
      local entry = entry_of { kind = "hook", name = name, calls = 0, errors = 0, seconds = 0, p50 = 0, p99 = 0 }
      entry.place = place
      list[#list + 1] = entry
    end
  end
  table.sort(list, function(a, b)
    if a.kind ~= b.kind then return a.kind < b.kind end
    return a.name < b.name
  end)
  return 200, { hooks = list, rejected = json.array(hooks.rejections()) }
end

route.get("/v1/health", M.get, { action = "observe", all = true })
route.get("/v1/hooks", M.hooks, { action = "observe", all = true })

return M
