--- /v1/stream: the Durable Streams protocol (doc/durable-streams.md), over topics. `durable_streams {}` in lignum.lua
--- turns it on.
---
---     durable_streams/protocol.lua   names, offsets, headers, errors
---     durable_streams/access.lua     how long streams live
---     durable_streams/barrier.lua    reads on any node are not out of date
---     durable_streams/state.lua      what a stream is, and appending to it
---     durable_streams/messages.lua   the messages in a body
---     durable_streams/forks.lua      what a stream consists of
---     durable_streams/create.lua, append.lua, read.lua, events.lua    the methods
---     durable_streams/subscriptions.lua, wakes.lua, subscribe.lua     subscriptions: what is known, what happens, HTTP
local access = require "routes.durable_streams.access"
local append = require "routes.durable_streams.append"
local config = require "lignum.config"
local create = require "routes.durable_streams.create"
local forward = require "lignum.forward"
local protocol = require "routes.durable_streams.protocol"
local read = require "routes.durable_streams.read"
local reserved = require "lignum.reserved"
local route = require "lignum.route"
local schedule = require "lignum.schedule"
local state = require "routes.durable_streams.state"
local subscribe = require "routes.durable_streams.subscribe"
local wakes = require "routes.durable_streams.wakes"

local M = {}

local LOOK <const> = 0.25      -- seconds between two looks for leases that end and deliveries that are due
local SWEEP <const> = 10       -- seconds between two looks for streams that have expired
local PATH <const> = protocol.PREFIX .. "{path...}"

local function topic_of(req)
  return protocol.topic_name(req:param("path") or "")
end

-- A fork shows what its source has.
local function forked(req)
  local from = req:header("stream-forked-from")
  local source = from and protocol.topic_name(protocol.path_in(from) or "")
  return source and { { "read", source } } or {}
end

---Declares the routes.
---@param options { long_poll: number, webhook_networks: string[] }
function M.declare(options)
  read.long_poll = options.long_poll
  reserved.add(protocol.TOPICS, "topics that begin with " .. protocol.TOPICS .. " are streams; use " .. protocol.PREFIX)
  local function declare(method, fn, action, also)
    route.declare(method, PATH, fn, "durable_streams", { action = action, topic = topic_of, also = also })
  end
  declare("PUT", forward.write(create.put), "publish", forked)
  declare("POST", forward.write(append.post), "publish")
  declare("DELETE", forward.write(append.delete), "admin")
  declare("GET", read.get, "read")
  subscribe.declare(function(method, path, fn, how)
    route.declare(method, path, forward.write(fn), "durable_streams", how)
  end)
  wakes.networks = options.webhook_networks
  state.on_removed = function(s) wakes.deleted(s.labels.path) end
  reserved.add(access.TOPIC, access.TOPIC .. " says when streams were read last; routes write it")
  local function every(seconds, fn)
    table.insert(config.timers, schedule.every("durable_streams", seconds, fn, { once_per = "cluster" }))
  end
  every(SWEEP, state.sweep)
  every(access.PAUSE, access.write)
  every(LOOK, wakes.look)
end

return M
