--- A group's messages as server-sent events, until the client disconnects; it settles them by requests of their own.
---
--- The data of an event is one message as in a claim. A stream has at most `most` messages leased at once, and what is
--- leased when it ends goes back to the group at once.
local core = require "lignum.core"

local raw, json, clock = core.group, core.json, core.time.clock

local M = {}

local QUIET <const> = 15       -- seconds without messages until a comment is sent
local LOOK <const> = 0.05      -- seconds between two looks at what is settled, while `most` are leased
local PIECE <const> = 100      -- messages of one claim

-- A stream that ends with these sends no event: the client shall reconnect, or has disconnected.
local QUIET_ENDS = { stopping = true, cancelled = true, not_leader = true, unavailable = true }

---@class lignum.EventStream
---@field topic string
---@field group string
---@field consumer string
---@field most integer

-- Sends the messages of a claim, and adds their leases to `held`. False once the client has gone.
local function send(write, messages, held)
  for _, m in ipairs(messages) do held[#held + 1] = m.lease end
  for _, m in ipairs(messages) do
    if not write("data: " .. json.encode(m) .. "\n\n") then return false end
  end
  return true
end

-- The leases of `held` that are not settled, once they are fewer than `most`; sends comments meanwhile.
local function room(s, write, held)
  local said = clock()
  local why, code
  held, why, code = raw.held(s.topic, s.group, held, 0)
  while held and #held >= s.most do
    if clock() - said >= QUIET then
      if not write(":\n\n") then return nil, "the client has gone", "cancelled" end
      said = clock()
    end
    held, why, code = raw.held(s.topic, s.group, held, LOOK)
  end
  return held, why, code
end

local function claim(s, limit)
  local began = clock()
  local text, why, code = raw.claim_filtered(s.topic, s.group, { consumer = s.consumer, limit = limit, wait = QUIET })
  if not text then return nil, why, code end
  local messages = json.decode(text).messages
  -- A wait that ends early without a message was ended: the client has gone, or this node stops.
  if #messages == 0 and clock() - began < QUIET then return nil, "the wait has ended", "stopping" end
  return messages
end

---A body that streams a group's messages.
---@param s lignum.EventStream
---@return fun(write: fun(piece: string): boolean)
function M.of(s)
  return function(write)
    local held = {}
    local _ <close> = setmetatable({}, { __close = function() raw.give_back(s.topic, s.group, held) end })
    while true do
      local left, why, code = room(s, write, held)
      local messages
      if left then
        held = left
        messages, why, code = claim(s, math.min(s.most - #held, PIECE))
      end
      if not messages then
        if not QUIET_ENDS[code] then
          write("event: error\ndata: " .. json.encode { code = code, detail = why } .. "\n\n")
        end
        return
      end
      if #messages == 0 and not write(":\n\n") or not send(write, messages, held) then return end
    end
  end
end

return M
