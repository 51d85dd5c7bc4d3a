--- The core's world: the duties of a cluster, the console, and the functions that C calls there (core/script/vm/vm.h).
---
--- Nothing of lignum.lua runs here. What it declares comes as a description (init.lua), and its policies are asked in
--- the live operator's world, for a limited time.
local core = require "lignum.core"
local election = require "lignum.election"
require "lignum.group"                -- adds methods to topics
local health = require "lignum.health"
local hooks = require "lignum.hooks"
local letters = require "lignum.letters"
local methods = require "lignum.methods"
local modules = require "lignum.modules"
local replication = require "lignum.replication"
local repl = require "lignum.repl"
local roster = require "lignum.roster"

local M = {}

local live   ---@type lignum.World   of which only the parts of world_of() are here

-- The console has its own functions of api.lua, and shares the metatable of strings with the duties.
getmetatable("").__metatable = "guarded"

roster.adopt, roster.claim_unclean = election.adopt, election.claim_unclean

---@class lignum.Description   of an operator's world
---@field values table                  the configuration
---@field hooks table<string, string>   [policy] = where it is defined
---@field tested boolean?              it runs tests (testing.lua), for which days may pass in a second
---@field fingerprint? string           see fingerprint.lua
---@field chooses boolean               whether rules choose the replication of topics by functions

-- A description, with the functions by which duties and console use a world.
local function world_of(description)
  local own = modules.new().require
  local world = {
    config = { values = description.values }, hooks = {}, policy = {}, tested = description.tested,
    fingerprint = description.fingerprint,
    api = own("lignum.draft").api, help = own "lignum.help", publish = own "lignum.publish",
    pretty = own "lignum.pretty",
  }

  function world.hooks.get(name)
    local place = description.hooks[name]
    return place, place
  end

  function world.hooks.ask(name, place, _, argument)
    return hooks.outcome(name, place, core.ask(hooks.POLICY, "policy", name, argument))
  end

  function world.policy.has_functions()
    return description.chooses
  end

  -- Twice the time limit, because the other world has one of its own for the rule's function.
  function world.policy.chosen(name)
    local ok, chosen, problem, late = core.ask(2 * hooks.POLICY, "chosen", name)
    if ok then return chosen, problem, late end
    return nil, chosen, problem == "timeout"
  end

  return world
end

---There is a new operator's world.
---@param description lignum.Description
function M.use(description)
  live = world_of(description)
  repl.use(live)
  election.use(live)
  replication.use(live)
  health.use(live)
end

---The duties.
---@return { seconds: number, fn: function, where: string, duty: boolean }[]
function M.timers()
  local all = election.start()
  if #all > 0 then table.move(replication.duties(), 1, 3, #all + 1, all) end
  if not live.tested then table.move(health.duties(), 1, 1, #all + 1, all) end
  return table.move(letters.duties(), 1, 1, #all + 1, all)
end

M.repl_eval = repl.eval
M.repl_line = repl.line
M.repl_output = repl.output
M.repl_complete = repl.complete
M.repl_close = repl.close

-- What an operator's world asks ----------------------------------------------------------------------

M.roster = roster.known
M.health = health.report
M.adopt = election.adopt
M.claim_unclean = election.claim_unclean

local CREATE <const> = 10            -- seconds for the operator's world to create a topic
local APPEND <const> = 3600          -- for it to append what on_publish has seen: Ctrl-C in the console ends it earlier

methods.add {
  create = function(name) return core.ask(CREATE, "create", name) end,
  append = function(topic, what, options)
    if live.hooks.get("on_publish") and not (options and options.raw) then
      return core.ask(APPEND, "append", topic.name, what, options)
    end
    return live.publish.append(topic, what, options)
  end,
}

return M
