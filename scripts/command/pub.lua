--- lignum pub: publishes the messages of arguments, files or standard input.
local core = require "lignum.core"
local remote = require "lignum.remote"
local retry = require "lignum.retry"
local shell = require "lignum.shell"
local system = require "lignum.system"

local json = core.json

local BATCH_BYTES <const> = 4 * 1024 * 1024     -- of one request: base64 and envelopes stay below batch_size_max
local BATCH <const> = 1000
local SLICES <const> = 10                       -- requests in a second, at least, with --rate

-- One run: where to, with what, and how far.
local Run = {}
Run.__index = Run

local function headers_of(list)
  local headers
  for _, text in ipairs(list or {}) do
    local name, value = text:match("^([^=]+)=(.*)$")
    if not name then shell.fail(64, "--header %s: a header is NAME=VALUE", text) end
    headers = headers or {}
    headers[name] = value
  end
  return headers
end

function Run.new(topic, flags, node)
  local self = setmetatable({
    node = node, topic = topic, path = remote.path { "topics", topic, "messages" }, json_out = flags.json_out,
    key = flags.key, headers = headers_of(flags.header), delay = flags.delay, ttl = flags.ttl, ack = flags.ack,
    most = flags.batch or BATCH, rate = flags.rate, retry = flags.retry, published = 0, requests = 0,
    progress = shell.progress(), began = core.time.clock(), batch = {}, bytes = 0,
  }, Run)
  if self.most < 1 then shell.fail(64, "--batch is at least 1") end
  if self.rate and self.rate <= 0 then shell.fail(64, "--rate is more than 0") end
  if self.rate then self.most = math.max(1, math.min(self.most, self.rate // SLICES)) end
  if flags.idempotent then self.producer = "pub-" .. core.crypto.encode(core.crypto.random(12), "hex") end
  self.enveloped = self.key or self.headers or self.delay or self.ttl
  return self
end

local function text_of(bytes, object, name, name_base64)
  if utf8.len(bytes) then
    object[name] = bytes
  else
    object[name_base64] = core.base64.encode(bytes)
  end
end

-- The body of a request and its type: lines where every message is one, else envelopes.
function Run:body()
  local lines = not self.enveloped
  for _, message in ipairs(self.batch) do
    lines = lines and message ~= "" and not message:find("[\r\n]")
  end
  if lines then return table.concat(self.batch, "\n"), "application/x-ndjson" end
  local list = json.array {}
  for i, message in ipairs(self.batch) do
    local envelope = { headers = self.headers, delay = self.delay, ttl = self.ttl }
    if self.key then text_of(self.key, envelope, "key", "key_base64") end
    text_of(message, envelope, "data", "base64")
    list[i] = envelope
  end
  return json.encode(list), "application/json"
end

-- Publishes what has been gathered.
function Run:flush()
  if #self.batch == 0 then return end
  local body, kind = self:body()
  local headers = { ["Content-Type"] = kind, ["Lignum-Ack"] = self.ack }
  if self.producer then
    headers["Producer-Id"], headers["Producer-Seq"] = self.producer, self.requests
  end
  local answer = retry.publish(self.node, self.path, { body = body, headers = headers, fresh = not self.producer },
    self.retry, function() return ("%d messages are published; "):format(self.published) end)
  self.requests, self.published = self.requests + 1, self.published + #self.batch
  self.batch, self.bytes = {}, 0
  if self.json_out then shell.out(answer.body:gsub("%s*$", "\n")) end
  self.progress(self.total and self.read / self.total or 0, ("%d messages"):format(self.published))
  if self.rate then
    system.sleep(self.began + self.published / self.rate - core.time.clock())
    shell.check_interrupt()
  end
end

function Run:add(message)
  if #self.batch >= self.most or self.bytes + #message > BATCH_BYTES then self:flush() end
  self.batch[#self.batch + 1] = message
  self.bytes = self.bytes + #message
end

-- Each line that is not empty is a message. What has arrived is published before more is awaited.
function Run:lines(fd)
  local rest = ""
  while true do
    local data, why = system.read(fd)
    shell.check_interrupt()
    if not data then shell.fail(74, "standard input: %s", why) end
    if data == "" then break end
    local from, searched = 1, #rest + 1
    data = rest .. data
    while true do
      local at = data:find("\n", searched, true)
      if not at then break end
      local line = data:sub(from, data:byte(at - 1) == 13 and at - 2 or at - 1)
      if line ~= "" then self:add(line) end
      from, searched = at + 1, at + 1
    end
    rest = data:sub(from)
    local too_long = #rest > core.limits.payload_size_max
    if too_long or not system.ready(fd) then self:flush() end
    if too_long then
      shell.fail(65, "%d messages are published; the next line has more than %d bytes", self.published,
        core.limits.payload_size_max)
    end
  end
  if rest ~= "" then self:add(rest) end
end

function Run:file(path)
  local file, why = core.unsafe.open(path, "rb")
  local text = file and file:read("a")
  if not text then shell.fail(66, "%s", why or (path .. " cannot be read")) end
  file:close()
  self:add(text)
end

local function run(args, flags, node)
  local to = Run.new(args[1], flags, node)
  for _, path in ipairs(flags.file or {}) do to:file(path) end
  if not args[2] and not flags.file then args[2] = "-" end
  for i = 2, #args do
    if args[i] == "-" then to:lines(0) else to:add(args[i]) end
  end
  to:flush()
  to.progress()
end

return {
  summary = "publishes messages", usage = "TOPIC [MESSAGE...]", args = { 1 }, remote = true, run = run,
  help = "Without MESSAGE, or for one that is -, each line of standard input that is not empty is a message,\n"
    .. "published as soon as it is there. -o json prints the receipt of each request.",
  flags = {
    { "--file", "FILE", "a file that is one message", many = true },
    { "--key", "KEY", "the key of all messages" },
    { "--header", "NAME=VALUE", "a header of all messages", many = true },
    { "--delay", "SECONDS", "groups deliver them after that", type = "number" },
    { "--ttl", "SECONDS", "groups deliver them until then", type = "number" },
    { "--ack", "peers", "waits until the whole synced set has them" },
    { "--batch", "N", "messages of a request, stored all or none (default 1000)", type = "integer" },
    { "--rate", "N", "at most so many messages in a second", type = "number" },
    { "--idempotent", nil, "names each request, so that one whose answer was lost is sent again" },
    { "--retry", "SECONDS", "how long a request is sent again (default: 30)", type = "number" },
  },
}
