--- What is wrong with this node and what it sees of its cluster: since when, and what to do (doc/http.md, "The node").
---
--- This runs in the core's world, which outlives reloads: a look every few seconds keeps what only a comparison over
--- time shows, and GET /v1/health asks for a fresh one. A problem is known by its code and subject; `since` is when a
--- look first found it, without a look in between that did not.
local core = require "lignum.core"
local http = require "lignum.http"
local roster = require "lignum.roster"

local clock = core.time.clock
local format = string.format

local M = {}

local LOOK <const> = 5                 -- seconds between two looks
local STEP <const> = 1                 -- a wall clock that jumps by more seconds between two looks was set
local STEP_SHOWN <const> = 3600        -- seconds for which a step is a problem
local SAMPLE, SAMPLES <const> = 60, 360           -- free space is noted each minute, for six hours
local TREND <const> = 600              -- seconds of samples that a forecast needs
local FILLS, FILLS_SOON <const> = 24, 2           -- hours
local FREE_LOW <const> = 0.05          -- of the disk
local CALL_SHOWN <const> = 900         -- seconds for which the last error of a hook is a problem
local STANDS <const> = 600             -- seconds after which a cursor that does not move is a problem
local GROUPS_LOOKED <const> = 1000     -- groups of one look
local CERTIFICATE, CERTIFICATE_SOON <const> = 14, 2   -- days
local GONE_SHOWN <const> = 86400       -- seconds for which a follower that is gone is a problem
local PROBLEMS_MAX <const> = 200

local RANKS <const> = { ok = 0, warning = 1, critical = 2 }

local live             ---@type lignum.World
local since = {}       -- [code and subject] = when a look first found it
local free = {}        -- { at =, bytes = }, the oldest first
local step             -- { at =, seconds = }: the last step of the wall clock
local apart            -- wall clock less monotonic clock at the last look
local lost             -- { lines =, at = }: lines of the log that were lost, and when that last rose
local known_followers = {}             -- [name] = when it was last connected to this leader
local cursors = {}     -- [topic/group] = { cursor =, at = }
local of_groups = {}   -- the problems that the last look has found with groups

---@class lignum.Problem
---@field code string
---@field severity "warning"|"critical"
---@field subject? string   a follower, topic, group, hook or file
---@field what string
---@field cure string
---@field since number

-- Durations and sizes as people read them.
local function span(seconds)
  for _, unit in ipairs { { 86400, "d" }, { 3600, "h" }, { 60, "min" } } do
    if seconds >= 2 * unit[1] then return format("%d %s", seconds // unit[1], unit[2]) end
  end
  return format("%.3g s", seconds)
end

local function size(bytes)
  for _, unit in ipairs { { 1 << 40, "TiB" }, { 1 << 30, "GiB" }, { 1 << 20, "MiB" }, { 1 << 10, "KiB" } } do
    if bytes >= unit[1] then return format("%.3g %s", bytes / unit[1], unit[2]) end
  end
  return format("%d bytes", bytes)
end

-- The looks ----------------------------------------------------------------------------------------
-- Each gets add(code, severity, subject, what, cure), and what this look has read.

local SERVING <const> = {
  no_leader = "look at /v1/cluster of all nodes: most of the synced set must run, and reach Consul",
  unavailable = "if it does not pass, look at this node's log, at the network to the leader and at "
    .. "cluster.replication.secret_file on both",
  unconfirmed = "restore Consul, or this node's way to it; writes go on by themselves then",
  set_regressed = "restore Consul's newer data; if it is lost for good, run cluster.adopt() in `lignum console` on the "
    .. "node that has most",
  no_space = "free space on the disk of store.path, or shorten `retain` of large topics",
}

local function serving(add)
  local problem, code = roster.problem()
  if not problem then return end
  add(code == "no_space" and "disk_full" or code, "critical", nil, problem,
    SERVING[code] or "look at this node's log")
end

-- Free space at the present pace, from the samples of the last hours: seconds until it is used up, or nil.
local function runs_out(now)
  local first, last = free[1], free[#free]
  if not first or now - first.at < TREND then return nil end
  local pace = (first.bytes - last.bytes) / (last.at - first.at)
  return pace > 0 and last.bytes / pace or nil
end

local function disk(add, now, stats)
  local store = stats.store
  local left = runs_out(clock())
  if left and left < FILLS * 3600 then
    add("disk_fills", left < FILLS_SOON * 3600 and "critical" or "warning", nil,
      format("at the pace of the last %s the disk is full in %s; %s are free", span(clock() - free[1].at), span(left),
        size(store.disk_free)),
      "free or add space, or set `retain` for the topics that grow")
  elseif store.disk_size > 0 and store.disk_free < FREE_LOW * store.disk_size then
    add("disk_low", "warning", nil, format("%s of %s are free", size(store.disk_free), size(store.disk_size)),
      "free or add space, or set `retain` for the topics that grow")
  end
  if store.damaged > 0 then
    add("damaged", "critical", nil, format("%d ranges of stored messages are damaged", store.damaged),
      "followers repair sealed files from each other; without one, `lignum verify` names the files, and a backup has "
      .. "them. Look at the disk's own errors (dmesg, smartctl)")
  end
  if step and now - step.at < STEP_SHOWN then
    add("clock_stepped", "warning", nil, format("the system's clock was set by %+.1f s", step.seconds),
      "let NTP slew the clock; times of messages and `retain.age` follow it")
  end
end

-- A follower that is gone is in no list of this leader any more, so its name is kept for a day.
local function gone_followers(add, now, status)
  local here = { [status.self.name] = true }
  for _, f in ipairs(status.followers) do
    if f.connected then here[f.name], known_followers[f.name] = true, now end
  end
  for _, name in ipairs(roster.synced(status)) do known_followers[name] = known_followers[name] or now end
  local names = {}
  for name, at in pairs(known_followers) do
    if now - at > GONE_SHOWN then known_followers[name] = nil elseif not here[name] then names[#names + 1] = name end
  end
  table.sort(names)
  for _, name in ipairs(names) do
    add("follower_gone", "warning", name, format("follower %s is not connected", name),
      "start it, or look at its log and the network; if it was removed for good, this is over after a day")
  end
end

local function followers(add, now, _, status)
  local lag_max = live and live.config.values.cluster.lag_max or math.huge
  if status.role ~= "leader" then
    known_followers = {}
    return
  end
  gone_followers(add, now, status)
  for _, f in ipairs(status.followers) do
    if f.connected and f.lag_seconds > lag_max then
      add("follower_lags", "warning", f.name, format("follower %s is %s behind: %d messages, %s", f.name,
        span(f.lag_seconds), f.lag_messages, size(f.lag_bytes)),
        "look at its disk and at the network between the two; it catches up by itself")
    end
    if f.connected and not f.in_set then
      add("follower_out", "warning", f.name, format("follower %s is connected and not in the synced set", f.name),
        "it is asked in once it has everything; if it stays out, look at its log")
    end
  end
end

local function synced_set(add, _, _, status)
  if status.role ~= "leader" then return end
  local members, copies = #roster.synced(status), status.copies_max or 1
  if members < copies then
    add("set_too_small", "critical", nil, format("the synced set has %d of the %d members that live topics need: "
      .. "they refuse messages", members, copies), "start the missing nodes, or lower `copies` of these topics")
  elseif members == copies and copies > 1 then
    add("set_has_no_spare", "warning", nil, format("the synced set has %d members, as many as live topics need: one "
      .. "more loss stops them", members), "bring back the nodes that are out of the set")
  elseif members == 1 and #roster.nodes(status) > 1 then
    add("set_has_one_member", "warning", nil, "only the leader is in the synced set: no other node may take over",
      "bring back the nodes that are out of the set")
  end
end

local function left_behind(add, _, _, status)
  if status.amnesiac then
    add("amnesiac", "warning", nil, "this node's machine went down without a clean stop, under a weaker durability: it "
      .. "may have lost messages that it acknowledged, and counts nowhere until it has caught up",
      "let it catch up with a leader")
  end
  local names = core.diverged()
  if #names == 0 then return end
  table.sort(names)
  local shown = table.concat(names, ", ", 1, math.min(#names, 5))
  add("diverged", "warning", nil, format("diverged/ in the data directory holds messages that the leader's history "
    .. "does not contain: %s%s", shown, #names > 5 and format(" and %d more", #names - 5) or ""),
    "look at them with `lignum dump DATA diverged/NAME`, publish again what is needed, then delete the directory")
end

local function configuration(add, _, _, status)
  for _, name in ipairs(roster.otherwise_configured(status)) do
    add("config_differs", "warning", name, format("node %s has loaded another lignum.lua than this one", name),
      "put the same lignum.lua, and files that belong to it, on all nodes, and reload them; what may differ between "
      .. "nodes is said in doc/operate.md, and cluster.same_config = false ends this")
  end
end

local function consul(add)
  local client = roster.consul
  if client and client.problem then
    add("consul_unreachable", "critical", nil, "Consul does not answer: " .. client.problem,
      "restore Consul, or this node's way to it; without it the leader stops acknowledging after cluster.lease")
  end
end

local function scripts(add, now, stats)
  for _, c in ipairs(core.calls()) do
    if c.problem and now - c.problem_time < CALL_SHOWN then
      add(c.kind .. "_fails", "warning", c.name, format("%s has failed in %d of %d calls, last %s ago: %s", c.name,
        c.errors, c.calls, span(math.max(0, now - c.problem_time)), c.problem),
        "correct lignum.lua at that line, run `lignum check`, and reload")
    end
  end
  local vm = stats.vm
  if vm.memory > 0.9 * vm.memory_max then
    add("script_memory", "warning", nil, format("scripts use %s of %s", size(vm.memory), size(vm.memory_max)),
      "find what lignum.lua keeps, or raise limits.script_memory")
  end
end

local function process(add, now, stats)
  local p = stats.process
  if p.fds > 0.9 * p.fds_max then
    add("descriptors", "critical", nil, format("%d of %d file descriptors are open", p.fds, p.fds_max),
      "raise ulimit -n (LimitNOFILE of the unit), and restart")
  end
  if p.log_lost > 0 and (not lost or p.log_lost > lost.lines) then lost = { lines = p.log_lost, at = now } end
  if lost and now - lost.at < STEP_SHOWN then
    add("log_lost", "warning", nil, format("standard error did not take %d lines of the log", lost.lines),
      "look at what reads this node's log")
  end
  for _, c in ipairs(stats.tls) do
    local days = (c["until"] - now) / 86400
    if days < CERTIFICATE then
      add("certificate_expires", days < CERTIFICATE_SOON and "critical" or "warning", c.path,
        days < 0 and format("the certificate %s has expired", c.path)
        or format("the certificate %s expires in %s", c.path, span(days * 86400)),
        "renew it, and reload this node")
    end
  end
end

local LOOKS <const> = { serving, disk, followers, synced_set, left_behind, configuration, consul, scripts, process }

local BLOCKED <const> = {
  leased = "leased", delayed = "delayed", dying = "dead, and its letter is not written yet",
  ready = "claimed by nobody",
}

local function group_problems(add, info)
  local name = info.topic .. "/" .. info.group
  local before, now = cursors[name], clock()
  if not before or before.cursor ~= info.cursor or info.lag <= info.scheduled then
    cursors[name] = { cursor = info.cursor, at = now }
    before = nil
  end
  local b = info.blocked
  if b then
    add("group_blocked", "critical", name, format("group %s has too many messages out, and delivers no further ones: "
      .. "most wait for offset %d, which is %s%s", name, b.offset, BLOCKED[b.reason],
        b.consumer and format(" (consumer %s)", b.consumer) or ""),
      "settle or reject that message; without consumers, look why they have stopped")
  elseif info.dying > 0 then
    add("letters_wait", "warning", name, format("%d dead messages of group %s cannot be copied to %s", info.dying, name,
      info.settings.dead_letter), "look at this node's log, and at that topic")
  elseif before and now - before.at >= STANDS then
    local oldest = info.oldest and info.oldest.offset or info.cursor
    add("group_stands", "warning", name, format("group %s has not settled offset %d for %s; %s", name, oldest,
      span(now - before.at), #info.consumers == 0 and "it has no consumers"
        or format("%d deliveries have failed in all", info.redelivered)),
      "look at that message and at its consumers' logs; reject it, or seek past it")
  end
end

-- Looking --------------------------------------------------------------------------------------------

local function collector(list, key_of)
  return function(code, severity, subject, what, cure)
    if #list == PROBLEMS_MAX then return end
    list[#list + 1] = { code = code, severity = severity, subject = subject and http.printable(subject),
      what = http.printable(what), cure = cure, key = key_of(code, subject) }
  end
end

local function key_of(code, subject) return code .. "\0" .. (subject or "") end

-- The log says once that a disk is full or will be, and once that this is over. Other problems are said where they
-- arise.
local function say_changes(found, still)
  for _, p in ipairs(found) do
    if p.code:find("^disk_") and not since[p.key] then core.say.warn(("health: %s; %s"):format(p.what, p.cure)) end
  end
  for key in pairs(since) do
    local code = key:match("^(disk_%l+)")
    if code and not still[key] then core.say.info(("health: %s is over"):format(code)) end
  end
end

local function look()
  local now, found = core.now(), {}
  local add, stats, status = collector(found, key_of), core.node.stats(0), roster.status()
  for _, fn in ipairs(LOOKS) do fn(add, now, stats, status) end
  table.move(of_groups, 1, math.min(#of_groups, PROBLEMS_MAX - #found), #found + 1, found)
  local still = {}
  for _, p in ipairs(found) do
    still[p.key] = since[p.key] or now
  end
  say_changes(found, still)
  since = still
  return found, now, status
end

local function look_at_groups()
  local list, found, known = core.group.list(), {}, {}
  local add = collector(found, key_of)
  for i = 1, math.min(#list, GROUPS_LOOKED) do
    local info = core.group.info(list[i].topic, list[i].group)
    if info then group_problems(add, info) end
    known[list[i].topic .. "/" .. list[i].group] = true
    if i % 50 == 0 then core.sleep(0) end
  end
  for name in pairs(cursors) do
    if not known[name] then cursors[name] = nil end
  end
  of_groups = found
end

local function sample()
  local now = clock()
  local between = core.now() - now
  if apart and math.abs(between - apart) > STEP then step = { at = core.now(), seconds = between - apart } end
  apart = between
  if #free == 0 or now - free[#free].at >= SAMPLE then
    free[#free + 1] = { at = now, bytes = core.node.stats(0).store.disk_free }
    if #free > SAMPLES then table.remove(free, 1) end
  end
end

local function duty()
  sample()
  look_at_groups()
  look()
end

---@param world lignum.World
function M.use(world)
  live = world
end

---@return { seconds: number, fn: function, where: string, duty: boolean }[]
function M.duties()
  return { { seconds = LOOK, fn = duty, where = "the duty of health", duty = true } }
end

---What is wrong now, the worst first.
---@return { status: "ok"|"warning"|"critical", time: number, problems: lignum.Problem[] }
function M.report()
  local found, now = look()
  local worst, problems = "ok", {}
  for i, p in ipairs(found) do
    if RANKS[p.severity] > RANKS[worst] then worst = p.severity end
    problems[i] = { code = p.code, severity = p.severity, subject = p.subject, what = p.what, cure = p.cure,
      since = since[p.key] }
  end
  table.sort(problems, function(a, b)
    if a.severity ~= b.severity then return RANKS[a.severity] > RANKS[b.severity] end
    if a.since ~= b.since then return a.since < b.since end
    return a.what < b.what
  end)
  return { status = worst, time = now, problems = problems }
end

return M
