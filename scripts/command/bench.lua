--- lignum bench: what a node, a disk and the way there can do: rates and latencies of publishing and reading.
local core = require "lignum.core"
local remote = require "lignum.remote"
local shell = require "lignum.shell"
local system = require "lignum.system"

local clock = core.time.clock

local PAGE <const> = 10000
local COLUMNS <const> = {
  { "WHAT", "what" }, { "MESSAGES/S", "rate" }, { "MB/S", "mb" }, { "P50 MS", "p50" }, { "P99 MS", "p99" },
  { "MAX MS", "max" },
}

local function result_of(what, messages, size, seconds, times)
  table.sort(times)
  local function at(part)
    local s = times[math.max(1, math.ceil(#times * part))] or 0
    return math.floor(s * 100000 + 0.5) / 100
  end
  return {
    what = what, messages = messages, seconds = math.floor(seconds * 1000) / 1000,
    rate = math.floor(messages / seconds),
    mb = math.floor(messages * size / seconds / 1e4) / 100, p50 = at(0.5), p99 = at(0.99), max = at(1),
  }
end

-- Keeps `connections` requests of options() under way until the time is over; times of all that succeeded.
local function drive(options, connections, seconds, progress)
  local began, running, times = clock(), 0, {}
  local function start()
    local id, why = system.start(options())
    if not id then shell.fail(64, "%s", why) end
    running = running + 1
  end
  for _ = 1, connections do start() end
  while running > 0 do
    local id, what, answer, code = system.next()
    if not id then shell.fail(130) end
    running = running - 1
    if what == "failed" then shell.fail(69, "%s", answer .. (code == "broken" and "; a request was cut" or "")) end
    if answer.status >= 300 then remote.refuse(answer) end
    times[#times + 1] = answer.seconds
    local passed = clock() - began
    progress(passed / seconds, "publishing")
    if passed < seconds then start() end
  end
  return times, clock() - began
end

-- Reads all of the topic.
local function read(node, topic, size, progress)
  local first = node:json("GET", remote.path { "topics", topic })
  local began, times, messages, from = clock(), {}, 0, "earliest"
  while true do
    local path = remote.path({ "topics", topic, "messages" },
      { from = from, limit = PAGE, bytes = core.limits.read_size_max, raw = 1 })
    local before = clock()
    local answer = node:request("GET", path)
    local token = answer.headers["lignum-next-offset"]
    local at = math.tointeger(token:match(":(%d+)"))
    if token == from or at <= first.first then break end
    times[#times + 1] = clock() - before
    messages, from = at - first.first, token
    progress(messages / (first.next - first.first), "reading")
    if at >= first.next then break end
  end
  return result_of("read", messages, size, clock() - began, times)
end

local function run(args, flags, node)
  local seconds, size, batch = flags.seconds or 5, flags.size or 100, flags.batch or 1
  local connections = flags.connections or 8
  if size < 1 or batch < 1 or connections < 1 then shell.fail(64, "sizes and numbers are at least 1") end
  local own = not args[1]
  local topic = args[1] or "bench-" .. core.crypto.encode(core.crypto.random(6), "hex")
  if own then node:request("PUT", remote.path { "topics", topic }) end
  local line = ("x"):rep(size)
  local body = batch == 1 and line or (line .. "\n"):rep(batch)
  local headers = { ["Content-Type"] = batch == 1 and "text/plain" or "application/x-ndjson" }
  local path, progress = remote.path { "topics", topic, "messages" }, shell.progress()
  local ok, problem = pcall(function()
    local times, took = drive(function()
      return node:options("POST", path, { body = body, headers = headers })
    end, connections, seconds, progress)
    local results = { result_of("publish", #times * batch, size, took, times) }
    if own then results[2] = read(node, topic, size, progress) end
    progress()
    if flags.json_out then
      for _, result in ipairs(results) do shell.json(result) end
    else
      shell.rows(COLUMNS, results)
    end
  end)
  if own then node:try("DELETE", remote.path { "topics", topic }) end
  if not ok then error(problem, 0) end
end

return {
  summary = "measures rates and latencies of a node", usage = "[TOPIC]", args = { 0, 1 }, remote = true, run = run,
  help = "Without TOPIC, it publishes to a topic of its own, reads that again, and deletes it. It measures what one\n"
    .. "client gets from here; a latency is that of a request.",
  flags = {
    { "--seconds", "N", "how long it publishes (default: 5)", type = "number" },
    { "--size", "BYTES", "of a message (default: 100)", type = "integer" },
    { "--batch", "N", "messages of a request (default: 1)", type = "integer" },
    { "--connections", "N", "requests at once (default: 8)", type = "integer" },
  },
}
