--- What C calls (core/script/vm/vm.h). The only state here is which world is live.
local core = require "lignum.core"
local election = require "lignum.election"
local modules = require "lignum.modules"
local replication = require "lignum.replication"
local repl = require "lignum.repl"

local M = {}

local live   ---@type lignum.World

-- All strings of all drafts share it: the one thing that a file which is refused could leave changed.
getmetatable("").__metatable = "guarded"

---Reads lignum.lua into a draft and makes it live, or raises one error a line and changes nothing.
---@param options { config?: string, set?: string[], scripts?: string }
function M.load(options)
  local draft = modules.new().require("lignum.draft")
  live = draft.build(options)
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

-- What the objects of C have from Lua.

function core.Request.json(req, shape)
  local value, why, code = live.http.decode_object(req.body, shape)
  return value, why, code
end

local append = core.Topic.append

-- A topic that is not there is created by its first publish, whoever publishes; that costs the others one comparison.
function core.Topic.append(topic, what, options)
  local first, count, epoch = append(topic, what, options)
  if first or epoch ~= "unknown_topic" then return first, count, epoch end

  local ok, why, code = live.policy.create(topic.name)
  if not ok then return nil, why, code end
  return append(topic, what, options)
end

return M
