--- lignum sub: prints the messages of a topic, or gives them to a command; as a reader, or as a consumer of a group.
local core = require "lignum.core"
local remote = require "lignum.remote"
local retry = require "lignum.retry"
local shell = require "lignum.shell"
local system = require "lignum.system"

local json = core.json

local PAGE <const> = 1000          -- messages of one request
local CLAIM <const> = 100          -- of one claim, unless a command takes them one by one
local WAIT <const> = 30            -- seconds of one request that waits
local LAST <const> = 10            -- seconds for what is said to the node after Ctrl-C
local REJECT <const> = 65          -- exit code of a command that will never succeed

-- One message ------------------------------------------------------------------------------------

local function payload_of(message)
  return message.data or core.base64.decode(message.base64)
end

local function key_of(message)
  return message.key or message.key_base64 and core.base64.decode(message.key_base64)
end

local function print_message(message, flags)
  if flags.raw then
    shell.out(payload_of(message) .. "\n")
  elseif flags.json or flags.json_out then
    shell.json(message)
  else
    shell.out(("%d\t%s\t%s\t%s\n"):format(message.offset, message.time, shell.payload(key_of(message) or "-"),
      shell.payload(payload_of(message))))
  end
end

-- Runs the command with the payload as its input. `meanwhile` is called every `seconds`.
local function execute(command, topic, message, seconds, meanwhile)
  local env = {
    "LIGNUM_TOPIC=" .. topic, "LIGNUM_OFFSET=" .. message.offset, "LIGNUM_DELIVERY=" .. (message.delivery or 1),
  }
  local key = key_of(message)
  if key and not key:find("\0", 1, true) then env[#env + 1] = "LIGNUM_KEY=" .. key end
  local pid, why = system.spawn(command, payload_of(message), env)
  if not pid then shell.fail(70, "the command cannot be run: %s", why) end
  while true do
    local code = system.await(pid, seconds)
    if code then return code end
    meanwhile()
  end
end

-- A reader ---------------------------------------------------------------------------------------

-- The next messages. A node that is lost gives way to the next one, from the token where the last answer ended.
local function read_page(node, topic, query, flags)
  local path = remote.path({ "topics", topic, "messages" }, query)
  local answer, why, code = retry.attempts(node, function() return node:try("GET", path) end, true, flags.retry)
  if not answer then node:lost(why, code) end
  if answer.status < 300 then return json.decode(answer.body) end
  local problem = remote.problem(answer)
  if problem.code == "log_truncated" then
    shell.fail(65, "%s (what was read after %s may not be in this history; go on with --from %s)", problem.detail,
      query.from, problem.offset or "latest")
  end
  remote.refuse(answer)
end

local function read(node, topic, flags)
  local left = flags.limit or math.huge
  local query = { from = flags.from or (flags.follow and "latest" or "earliest"), wait = flags.follow and WAIT or nil }
  local stop = flags.follow and math.huge or node:json("GET", remote.path { "topics", topic }).next
  while left > 0 do
    query.limit = math.min(left, PAGE)
    local page = read_page(node, topic, query, flags)
    for _, message in ipairs(page.messages) do
      if flags.exec then
        local code = execute(flags.exec, topic, message, WAIT, function() end)
        if code ~= 0 then shell.fail(1, "the command failed with %d; go on with --from %d", code, message.offset) end
      else
        print_message(message, flags)
      end
      shell.check_interrupt()
    end
    left = left - #page.messages
    query.from = page.next_token
    if page.next >= stop or not flags.follow and #page.messages == 0 then break end
  end
end

-- A consumer of a group --------------------------------------------------------------------------

local function post(node, topic, group, what, body, flags)
  local path = remote.path { "topics", topic, "groups", group, what }
  local repeatable, last = what == "settle", system.interrupted()
  local options = { json = body, fresh = not repeatable, shielded = last, timeout = last and LAST or nil }
  local answer, why, code = retry.attempts(node, function() return node:try("POST", path, options) end, repeatable,
    flags.retry)
  if not answer then return nil, why, code end
  if answer.status >= 300 then remote.refuse(answer) end
  return json.decode(answer.body)
end

-- Says what a lease that was over means: the message is delivered again.
local function settle(node, topic, group, body, flags)
  local answer, why, code = post(node, topic, group, "settle", body, flags)
  if not answer then node:lost(why, code) end
  for _, r in ipairs(answer.results) do
    if r.result ~= "ok" then shell.complain("lignum sub: a lease was over; its message is delivered again") end
  end
end

-- The messages of a claim are printed before they are acknowledged, so none is lost with this process.
local function consume_some(node, topic, group, messages, flags, lease_time)
  local done = { ack = json.array {}, release = json.array {}, reject = json.array {} }
  for _, message in ipairs(messages) do
    local outcome = "ack"
    if system.interrupted() then
      outcome = "release"
    elseif flags.exec then
      local code = execute(flags.exec, topic, message, lease_time / 3, function()
        settle(node, topic, group, { extend = { { lease = message.lease, seconds = lease_time } } }, flags)
      end)
      outcome = code == 0 and "ack" or code == REJECT and "reject" or "release"
    else
      print_message(message, flags)
    end
    table.insert(done[outcome], message.lease)
  end
  settle(node, topic, group, done, flags)
  shell.check_interrupt()
end

local function consume(node, topic, flags)
  local group, left = flags.group, flags.limit or math.huge
  local path = remote.path { "topics", topic, "groups", group }
  if flags.from then
    local answer, why, code = node:try("PUT", path, { json = { from = flags.from } })
    if not answer then node:lost(why, code) end
    if answer.status >= 300 and remote.problem(answer).code ~= "group_exists" then remote.refuse(answer) end
  end
  local lease_time = node:json("GET", path).settings.lease_time
  while left > 0 do
    local answer, why, code = post(node, topic, group, "claim", {
      consumer = flags.consumer, limit = math.min(left, flags.exec and 1 or CLAIM), wait = flags.follow and WAIT or 0,
    }, flags)
    if not answer and (code == "interrupted" or not flags.follow) then node:lost(why, code) end
    local messages = answer and answer.messages or {}      -- leases of an answer that was lost end by themselves
    if #messages > 0 then consume_some(node, topic, group, messages, flags, lease_time) end
    if not flags.follow and #messages == 0 then return end
    left = left - #messages
  end
end

local function run(args, flags, node)
  if flags.consumer and not flags.group then shell.fail(64, "--consumer is for --group") end
  local act = flags.group and consume or read
  return act(node, args[1], flags)
end

return {
  summary = "prints messages, or gives them to a command", usage = "TOPIC", args = { 1, 1 }, remote = true, run = run,
  help = "A line is offset, time, key and payload, with tabs. Without --follow it ends at the end of the log, with\n"
    .. "--group when there is nothing left to claim. With --exec, the payload is the command's standard input, and\n"
    .. "LIGNUM_TOPIC, LIGNUM_OFFSET, LIGNUM_KEY and LIGNUM_DELIVERY are in its environment. In a group, its exit\n"
    .. "code 0 acknowledges the message, 65 rejects it, and any other releases it.",
  flags = {
    { "--from", "PLACE", "offset, token, time, -15m, earliest, latest (default: earliest; with --follow latest).\n"
      .. (" "):rep(27) .. "With --group: makes the group, if there is none, and lets it begin there" },
    { "--follow", nil, "waits for more; a node that is lost gives way to the next of --url" },
    { "--limit", "N", "ends after N messages", type = "integer" },
    { "--raw", nil, "prints payloads only" },
    { "--json", nil, "prints each message as JSON" },
    { "--group", "GROUP", "claims the messages for this group, and acknowledges each" },
    { "--consumer", "NAME", "who claims them" },
    { "--exec", "COMMAND", "runs this in a shell for each message" },
    { "--retry", "SECONDS", "how long a request is sent again (default: 30)", type = "number" },
  },
}
