--- The functions that C calls (core/script/vm/vm.h). The only state here is the live world.
local core = require "lignum.core"
local election = require "lignum.election"
require "lignum.group"                -- adds methods to topics
local modules = require "lignum.modules"
local replication = require "lignum.replication"
local repl = require "lignum.repl"

local M = {}

local live   ---@type lignum.World

-- All drafts share the metatable of strings, so a rejected lignum.lua could otherwise leave it changed.
getmetatable("").__metatable = "guarded"

-- `lignum check` runs lignum.lua to find its errors. Functions by which it could change anything outside of the process
-- do nothing then: they log that, and return nil, message, code.
local function disable(unsafe)
  for name in pairs(unsafe) do
    unsafe[name] = function()
      local why = ("unsafe.%s does nothing in `lignum check`"):format(name)
      core.say.warn(("%s: %s"):format(core.caller(2), why))
      return nil, why, "forbidden"
    end
  end
end

---Loads lignum.lua into a draft and makes it live. On failure it raises an error with one problem per line, and changes
---nothing.
---@param options { config?: string, set?: string[], scripts?: string, check?: boolean }
function M.load(options)
  if options.check then disable(core.unsafe) end
  local draft = modules.new().require("lignum.draft")
  live = draft.build(options)
  live.serve()
  repl.use(live)
  election.use(live)
  replication.use(live)
end

---@param path string  "store.segment.messages"
---@return any
function M.config(path)
  return live and live.config.get(path)
end

---@param req lignum.Request
---@return integer status
---@return any body
---@return table? headers
function M.handle(req)
  return live.handle(req)
end

local started = false

---@return { seconds: number, fn: function, where: string, duty?: boolean }[]
function M.timers()
  local timers = live.config.timers
  if started then return timers end
  started = true
  local all = election.start()
  if #all > 0 then table.move(replication.duties(), 1, 3, #all + 1, all) end
  return table.move(timers, 1, #timers, #all + 1, all)
end

M.repl_eval = repl.eval
M.repl_complete = repl.complete
M.repl_close = repl.close

-- Methods of the core's objects that are written in Lua.

function core.Request.json(req, shape)
  local value, why, code, more = live.http.decode_object(req.body, shape)
  return value, why, code, more
end

local append = core.Topic.append

-- The first append to a missing topic creates it, from a route and from lignum.lua alike. It costs other appends one
-- comparison.
function core.append(topic, what, options)
  local first, count, epoch, more = append(topic, what, options)
  if first or epoch ~= "unknown_topic" then return first, count, epoch, more end

  local ok, why, code = live.policy.create(topic.name)
  if not ok then return nil, why, code end
  return append(topic, what, options)
end

function core.Topic.append(topic, what, options)
  return live.publish.append(topic, what, options)
end

return M
