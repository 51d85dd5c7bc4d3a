--- The hook on_published: shows it messages once they are acknowledged. They wait in a list of bounded size, and one
--- task shows them in their order, so that no publish waits for the hook.
local core = require "lignum.core"
local hooks = require "lignum.hooks"

local clock = core.time.clock
local M = {}

local MESSAGES_MAX <const>, BYTES_MAX <const> = 10000, 16 * 1024 * 1024      -- that wait
local TIME <const> = 10                        -- seconds for one call
local SAID <const> = 10                        -- seconds between two lines about messages that were left out

M.wanted = false                               -- whether lignum.lua defines the hook

local hook
local waiting, first, last, bytes = {}, 1, 0, 0
local shows = false                            -- the task runs
local left_out, said = 0, -math.huge

local function show(item)
  local done, why = core.within(TIME, "on_published", function()
    core.where("on_published")
    hook(item.msg, item.ctx)
    core.where(nil)
  end)
  if not done then core.say.error(why) end
end

local function show_all()
  local _ <close> = setmetatable({}, { __close = function() shows = false end })
  while first <= last do
    local item = waiting[first]
    waiting[first], first, bytes = nil, first + 1, bytes - item.size
    show(item)
  end
end

-- What the hook may know of a request, which is over when it is called.
local function context_of(ctx)
  return { user = ctx.user, peer = ctx.peer, route = ctx.route, producer = ctx.producer }
end

local function leave_out(count)
  left_out = left_out + count
  if clock() - said < SAID then return end
  core.say.warn(("on_published is too slow: %d messages were not shown to it, as %d messages wait")
    :format(left_out, last - first + 1))
  left_out, said = 0, clock()
end

local function size_of(m)
  local size = #m.payload + (m.key and #m.key or 0)
  for name, value in pairs(m.headers or {}) do size = size + #name + #value end
  return size
end

---Messages have been acknowledged.
---@param name string                          the topic
---@param messages (string|lignum.Message)[]
---@param offset integer                       of the first
---@param epoch integer
---@param ctx lignum.Request|table
function M.tell(name, messages, offset, epoch, ctx)
  if core.hook() == "on_published" then return end      -- it would be shown what it appends, for ever
  ctx = context_of(ctx)
  for i, m in ipairs(messages) do
    if type(m) == "string" then m = { payload = m } end
    local size = size_of(m)
    if last - first + 1 >= MESSAGES_MAX or bytes + size > BYTES_MAX then
      leave_out(#messages - i + 1)
      break
    end
    last, bytes = last + 1, bytes + size
    waiting[last] = { size = size, ctx = ctx, msg = {
      topic = name, payload = m.payload, key = m.key, headers = m.headers or {}, offset = offset + i - 1, epoch = epoch,
    } }
  end
  if not shows and first <= last then shows = core.spawn(show_all) ~= nil end
end

---Reads the hook that lignum.lua has defined.
function M.seal()
  hooks.use("on_published", function(fn)
    hook = fn
    M.wanted = fn ~= nil
  end)
end

return M
