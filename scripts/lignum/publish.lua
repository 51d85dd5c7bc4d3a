--- Publishing for a client: calls the hook on_publish, then appends to the topic.
local core = require "lignum.core"
local hooks = require "lignum.hooks"
local http = require "lignum.http"
local leader = require "lignum.leader"
local modules = require "lignum.modules"
local policy = require "lignum.policy"
local published = require "lignum.published"
local reserved = require "lignum.reserved"

local topic, json = core.topic, core.json
local append_here, receipt, follows = core.append, core.Topic.receipt, core.cluster.follows
local publish, param = core.Request.publish, core.Request.param

local M = {}

local TOPICS_MAX <const> = 16     -- to which a hook may send the messages of one batch: they are appended in turn

M.hooked = false     -- whether there is an on_publish
local asks = false   -- whether M.request has to look at a name: else the core refuses those that begin with _

local on_publish     ---@type fun(msg: lignum.Message, ctx: table): table?   the operator's hook, if defined

local Refusal = {}

local append_anywhere

local hook, watch        -- what lignum.lua defines; what is put around it (M.watch)

local function choose()
  on_publish = watch and function(msg, ctx) return watch(hook, msg, ctx) end or hook
  M.hooked = on_publish ~= nil
end

---Reads the hooks `on_publish` and `on_published` that lignum.lua has defined.
function M.seal()
  published.seal()
  asks = reserved.any or published.wanted
  hooks.use("on_publish", function(fn)
    hook = fn
    choose()
  end)
end

---Puts a function around the hook: the canary's. nil: none.
---@param fn? fun(hook: function?, msg: lignum.Message, ctx: table): table?
function M.watch(fn)
  watch = fn
  choose()
end

local RESERVED <const> = {
  type = true, title = true, status = true, code = true, detail = true, retryable = true, appended = true,
}

-- Checks what reject was given beside its reason. Returns the code, and the further members of the problem.
local function refusal_of(options)
  if options == nil then return "rejected" end
  if type(options) == "string" then
    if not core.errors[options] then error("reject: there is no error code " .. options, 3) end
    return options
  end
  if type(options) ~= "table" then error("reject(why [, {status=, code=, fields=}]): not " .. type(options), 3) end
  local status, code, fields = options.status, options.code or "rejected", options.fields or {}
  for name in pairs(options) do
    if name ~= "status" and name ~= "code" and name ~= "fields" then
      error("reject: there is no option " .. tostring(name), 3)
    end
  end
  if type(code) ~= "string" or not code:find("^%l[%l%d_]*$") then
    error("reject: code must be a word in lower case", 3)
  end
  if status ~= nil and not (math.type(status) == "integer" and status >= 400 and status <= 599) then
    error("reject: status must be from 400 to 599", 3)
  end
  if type(fields) ~= "table" or not pcall(json.encode, fields) then error("reject: fields cannot be JSON", 3) end
  local more = {}
  for name, value in pairs(fields) do
    if type(name) ~= "string" or RESERVED[name] then error("reject: a field cannot be " .. tostring(name), 3) end
    more[name] = value
  end
  more.status = status or not core.errors[code] and core.errors.rejected.status or nil
  return code, more
end

---Makes the value by which on_publish rejects a message. It counts also when the hook does not return it.
---@param why string
---@param options? string|table   a code, or { status =, code =, fields = }
---@return table refusal
function M.reject(why, options)
  if type(why) ~= "string" then error("reject(why [, options]): why must be a string", 2) end
  local code, more = refusal_of(options)
  local refusal = setmetatable({ why = why, code = code, more = more }, Refusal)
  core.refuse(refusal)
  return refusal
end

local function complain(what)
  hooks.complain("on_publish", what)
end

local function check_field(value, name, kind)
  if type(value) ~= kind then complain(("set msg.%s to a %s; it must be a %s"):format(name, type(value), kind)) end
end

-- Checks a message that the hook has seen, and what the hook has returned. Returns the topic to append to, or nil and
-- the refusal.
local function judge(message, result)
  local refusal = core.refusal() or result
  if refusal ~= nil then
    if getmetatable(refusal) == Refusal then return nil, refusal end
    complain("must return nothing or reject(...), not a " .. type(refusal))
  end
  local to, headers = message.topic, message.headers
  message.topic = nil
  check_field(message.payload, "payload", "string")
  check_field(to, "topic", "string")
  if message.key ~= nil then check_field(message.key, "key", "string") end
  if headers == nil then return to end
  check_field(headers, "headers", "table")
  for header, value in pairs(headers) do
    if type(header) ~= "string" or type(value) ~= "string" then
      complain("set msg.headers to a table that holds something else than strings")
    end
  end
  return to
end

---@class lignum.Group
---@field name string               a topic
---@field messages lignum.Message[]

-- Shows all messages to the hook. Returns them by the topic that they go to, or nil, the refusal and the index of its
-- message.
---@return lignum.Group[]? groups
local function ask_all(messages, name, ctx)
  local groups, by_name = {}, {}
  for i = 1, #messages do
    local message = messages[i]
    core.where("on_publish")
    message.topic = name
    message.headers = message.headers or {}
    local to, refusal = judge(message, on_publish(message, ctx))
    if not to then
      core.where(nil)
      return nil, refusal, i
    end
    local group = by_name[to]
    if not group then
      group = { name = to, messages = {} }
      by_name[to], groups[#groups + 1] = group, group
      if #groups > TOPICS_MAX then complain(("sent one batch to more than %d topics"):format(TOPICS_MAX)) end
    end
    group.messages[#group.messages + 1] = message
  end
  core.where(nil)
  return groups
end

-- The failure that a refusal is.
local function refused(name, refusal, at)
  hooks.rejected(name, refusal.code, http.printable(refusal.why))
  local more = refusal.more and modules.copy(refusal.more)
  return nil, at and ("message %d: %s"):format(at, refusal.why) or refusal.why, refusal.code, more
end

-- Appends to a topic by `by`, which is append_here or append_anywhere.
local function append(by, name, what, options)
  local problem = reserved.problem(name)
  if problem then return nil, problem, "forbidden" end
  local t = topic(name)
  local first, count, epoch, more = by(t, what, options)
  if not first then return nil, count, epoch, more end
  if published.wanted and not (more and more.duplicate) then
    published.tell(name, what.payload and { what } or what, first, epoch, options.request or {})
  end
  return first, count, epoch, t, more
end

-- Appends to the topic to which the hook has sent the messages for `name`. A producer's sequence is that of the topic
-- that stores its requests, so a hook that sends only some of them elsewhere leaves gaps in both.
local function append_sent(by, to, name, what, options)
  local first, why, code, t, more = append(by, to, what, options)
  if not first and to ~= name and (code == "sequence_gap" or code == "fenced") then
    why = ("%s (on_publish sent the request for %s to %s, which has its own sequence)"):format(why, name, to)
  end
  return first, why, code, t, more
end

-- Appends a batch that the hook has spread over topics, one topic after another. The results are those of the part that
-- stayed in `name`, or else of the first one, and a list of the others.
local function append_groups(by, groups, name, options)
  for _, group in ipairs(groups) do
    local problem = reserved.problem(group.name)
    if problem then return nil, problem, "forbidden" end
  end
  local request = options.request
  if options.expect or request and request:header("if-match") then
    return nil, "a batch that is appended only at an expected place cannot be spread over topics", "bad_value"
  end
  if options.producer or request and request.producer then      -- its sequence is that of one topic
    return nil, "a batch with a Producer-Id cannot be spread over topics", "bad_value"
  end
  local main, others, appended = nil, {}, 0
  for i, group in ipairs(groups) do
    local first, count, epoch, t, more = append(by, group.name, group.messages, options)
    if not first and i == 1 then return nil, count, epoch, t end
    if not first then
      local why <const> = "%d messages of the batch were appended to other topics; those to %s were not: %s"
      return nil, why:format(appended, group.name, count), "unknown_outcome"
    end
    appended = appended + #group.messages
    local part = { topic = group.name }
    if first ~= true then part.first, part.next, part.count = first, first + count, count end
    if group.name == name or i == 1 then
      others[#others + 1] = main and main.part
      main = { first = first, count = count, epoch = epoch, topic = t, more = more, part = part }
    else
      others[#others + 1] = part
    end
  end
  return main.first, main.count, main.epoch, main.topic, main.more, others
end

-- Shows the messages to the hook and appends them.
---@return integer? first
---@return integer|string count
---@return integer|string epoch
---@return lignum.Topic|table|nil topic   the topic appended to; or further members of the problem
---@return table? more                    as the last result of topic:append
---@return table[]? others                receipts of the other topics
local function append_shown(by, name, messages, ctx, options)
  local groups, refusal, at = ask_all(messages, name, ctx)
  if not groups then return refused(name, refusal, #messages > 1 and at or nil) end
  if #groups > 1 then return append_groups(by, groups, name, options) end
  local single = groups[1]
  return append_sent(by, single.name, name, single.messages, options)
end

-- What the headers of a request ask of an append, as options; or nil, message, code.
local function options_of(request, given)
  local options = modules.copy(given)
  options.request = nil
  if not request then return options end
  local ack, match, id = request:header("lignum-ack"), request:header("if-match"), request:header("producer-id")
  if ack and ack:lower() ~= "peers" then return nil, "Lignum-Ack must be peers", "bad_value" end
  options.ack = ack and "peers" or options.ack
  options.expect = options.expect or match and (match:match('^"(.*)"$') or match)
  options.once = options.once or request:header("idempotency-key")
  if not id then return options end
  options.producer, options.epoch = id, math.tointeger(tonumber(request:header("producer-epoch") or 0))
  options.sequence = math.tointeger(tonumber(request:header("producer-seq")))
  if not (options.epoch and options.sequence) then
    return nil, "Producer-Epoch and Producer-Seq must be whole numbers", "bad_value"
  end
  return options
end

-- Appends on the leader. If the connection to it breaks before it has answered, that is repeated where a repetition is
-- known as one.
local function append_there(t, what, given)
  local request = type(what) == "userdata" and what or given.request
  local messages, why, code, more = what, nil, nil, nil
  if type(what) == "userdata" then messages, why, code, more = what:messages() end
  if not messages then return nil, why, code, more end
  local options
  options, why, code = options_of(request, given)
  if not options then return nil, why, code end
  local seconds = options.timeout or leader.ANSWER
  options.timeout = seconds
  local how = { seconds = seconds, repeats = options.once ~= nil or options.producer ~= nil or options.letter ~= nil }
  return leader.call("append", how, t.name, messages, options)
end

-- Appends on this node, or on the leader if that is another one.
function append_anywhere(t, what, options)
  if not follows() then
    local first, count, epoch, more = append_here(t, what, options)
    if first or epoch ~= "not_leader" then return first, count, epoch, more end
  end
  return append_there(t, what, options or {})
end

-- The messages that topic:append was given, as copies that the hook may change; nil if they are not well formed.
local function messages_in(what)
  local messages = {}
  for i, m in ipairs(type(what) == "table" and what.payload == nil and what or { what }) do
    if type(m) == "string" then m = { payload = m } end
    if type(m) ~= "table" or type(m.payload) ~= "string" then return nil end
    local headers = m.headers
    if headers ~= nil and type(headers) ~= "table" then return nil end
    messages[i] = { payload = m.payload, key = m.key, headers = headers and modules.copy(headers) }
  end
  return #messages > 0 and messages or nil
end

---topic:append, as scripts call it: on_publish sees the messages first, except with `raw`, and in on_publish itself.
---@param t lignum.Topic
---@param what any
---@param options? table
function M.append(t, what, options)
  local raw = options and options.raw
  if raw ~= nil then
    if type(raw) ~= "boolean" then error("topic:append: raw must be true or false", 2) end
    options = modules.copy(options)
    options.raw = nil
  end
  local unseen = raw or not on_publish or core.hook() == "on_publish"
  if unseen and not published.wanted then return append_anywhere(t, what, options) end
  local request = type(what) == "userdata" and what or options and options.request
  local messages, why, code, more
  if type(what) == "userdata" then
    messages, why, code, more = what:messages()
    if not messages then return nil, why, code, more end
    options = options and modules.copy(options) or {}
    options.request = what
  else
    messages = messages_in(what)
    if not messages then return append_here(t, what, options) end      -- which raises
  end
  if unseen then
    local first, count, epoch, rest, also = append(append_anywhere, t.name, messages, options or {})
    if first then return first, count, epoch, also end
    return nil, count, epoch, rest
  end
  local first, count, epoch, rest, also = append_shown(append_anywhere, t.name, messages, request or {}, options or {})
  if first then return first, count, epoch, also end
  return nil, count, epoch, rest
end

---Raises an error of the hook, where it is defined.
M.complain = complain

---Shows a message to on_publish and appends nothing.
---@param message lignum.Message   without topic
---@param name string              the topic
---@param ctx table
---@return string? topic           that it would be appended to
---@return string? why             it would be rejected
---@return string? code
function M.judge(message, name, ctx)
  if not on_publish then return name end
  message.topic = name
  local to, refusal = judge(message, on_publish(message, ctx))
  if not to then return nil, refusal.why, refusal.code end
  local problem = to ~= name and reserved.problem(to)
  if problem then return nil, problem, "forbidden" end
  return to
end

---Shows messages to on_publish that only its caller may append: the hook cannot send them to another topic.
---@param name string                          the topic
---@param messages (string|lignum.Message)[]
---@param req lignum.Request
---@return (string|lignum.Message)[]? messages  as the hook leaves them; without a hook the same list
---@return string? message
---@return string? code
---@return table? more
function M.show(name, messages, req)
  if not on_publish then return messages end
  local groups, refusal, at = ask_all(messages_in(messages), name, req)
  if not groups then return refused(name, refusal, #messages > 1 and at or nil) end
  if #groups > 1 or groups[1].name ~= name then complain("cannot send messages of " .. name .. " to another topic") end
  return groups[1].messages
end

---The answer to a failed publish. With any code but unknown_outcome nothing was appended, and nothing will be.
---@param code string
---@param why string
---@param more? table   further members of the problem, as topic:append returns them
---@return integer status
---@return table body
---@return table headers
function M.fail(code, why, more)
  if code ~= "unknown_outcome" then
    more = more or {}
    more.appended = false
  end
  return http.fail(code, why, more)
end

---Appends messages for a request, after on_publish has seen them.
---@param name string                 the topic
---@param messages lignum.Message[]
---@param req lignum.Request
---@return integer|true|nil first      as from topic:append
---@return integer|string count       or the problem
---@return integer|string epoch       or the code
---@return lignum.Topic|table|nil topic   the topic appended to; or further members of the problem
---@return table? more             as the last result of topic:append
---@return table[]? others            receipts of further topics, to which the hook has sent some of them
function M.messages(name, messages, req)
  if on_publish then return append_shown(append_here, name, messages, req, { request = req }) end
  return append(append_here, name, messages, { request = req })
end

---The receipt for the messages of a request.
---@param req lignum.Request
---@param first integer|true|nil   the results of M.messages, also those of a failure
---@param count integer|string
---@param epoch integer|string
---@param t lignum.Topic|table|nil   the topic appended to, or further members of the problem
---@param more table?
---@param others? table[]
---@param data? string   the message: the receipt is that of /api
---@return string? receipt
---@return string? message
---@return string? code
---@return table? more
function M.receipt(req, first, count, epoch, t, more, others, data)
  if not first then return nil, count, epoch, t end
  local text, why, code = receipt(t, first, count, epoch, req:header("lignum-ack"), more and more.duplicate, data)
  if not text or not others then return text, why, code end
  return (text:gsub("}\n$", function() return (',"rerouted":%s}\n'):format(json.encode(json.array(others))) end))
end

-- Publishes a message that on_publish has changed, rejected or rerouted.
local function publish_changed(req, name, message, result, payload)
  local to, refusal = judge(message, result)
  core.where(nil)
  if not to then return refused(name, refusal) end
  local first, count, epoch, t, more = append_sent(append_here, to, name, message, { request = req })
  return M.receipt(req, first, count, epoch, t, more, nil, payload)
end

---Appends the body of a request without unpacking it in Lua, if that is possible: it has no content coding, and when
---on_publish is defined, it is one message with nothing but a payload.
---@param req lignum.Request
---@param name string?     the topic; nil: that of its path
---@param payload? string  append this instead; the receipt is then that of /api (topic:receipt)
---@return string|false|nil receipt   false: it is not possible; nothing has been done
---@return string? message
---@return string? code
---@return table? more
function M.request(req, name, payload)
  if asks then
    local problem = reserved.problem(name or param(req, "topic"))
    if problem then return nil, problem, "forbidden" end
    if published.wanted then return false end
  end
  local done, why, code, more = publish(req, name, on_publish, payload)
  if done == false and why then return publish_changed(req, name or param(req, "topic"), why, code, payload) end
  if code ~= "unknown_topic" then return done, why, code, more end
  local ok
  ok, why, code = policy.create(name or param(req, "topic"))
  if not ok then return nil, why, code end
  return publish(req, name, nil, payload)     -- on_publish has already seen it
end

return M
