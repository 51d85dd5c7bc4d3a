--- What runs by time: every, after and cron, as timers that timers.c starts once lignum.lua is live.
local core = require "lignum.core"
local cron = require "lignum.cron"
local near = require "lignum.near"
local zone = require "lignum.zone"

local M = {}

local EVERY_MAX <const> = 366 * 86400
local LOOK <const> = 60          -- seconds, within which a change of the clock is noticed
local OPTIONS <const> = { every = { once_per = true }, cron = { once_per = true, zone = true } }

---@class lignum.Timer
---@field seconds number
---@field fn function
---@field where string
---@field once? boolean       it runs only once
---@field uncounted? boolean  it counts its calls itself

local function check_seconds(verb, seconds, min)
  if not math.type(seconds) or not (seconds >= min and seconds <= EVERY_MAX) then
    return ("%s: needs a number of seconds from %g to %d"):format(verb, min, EVERY_MAX)
  end
end

-- Returns fn, or a function that calls it on the leader only.
local function with_options(verb, fn, options)
  if type(fn) ~= "function" then return nil, verb .. ": needs a function" end
  if options ~= nil and type(options) ~= "table" then return nil, verb .. ": options must be a table" end
  for name in pairs(options or {}) do
    local known = OPTIONS[verb]
    if not known[name] then
      return nil, ("%s: there is no option %s%s"):format(verb, tostring(name), near.hint(name, near.names(known)))
    end
  end
  local once_per = options and options.once_per
  if once_per == nil then return fn end
  if once_per ~= "cluster" then return nil, verb .. ': once_per must be "cluster"' end
  return function()
    if core.cluster.status().role ~= "follower" then fn() end
  end
end

---@param place string
---@return lignum.Timer?
---@return string? problem
function M.every(place, seconds, fn, options)
  local problem = check_seconds("every", seconds, 0.001)
  if problem then return nil, problem end
  fn, problem = with_options("every", fn, options)
  if not fn then return nil, problem end
  return { seconds = seconds, fn = fn, where = ("every %g s at %s"):format(seconds, place) }
end

---@param place string
---@return lignum.Timer?
---@return string? problem
function M.after(place, seconds, fn)
  local problem = check_seconds("after", seconds, 0)
  if problem then return nil, problem end
  if type(fn) ~= "function" then return nil, "after: needs a function" end
  local where = ("after %g s at %s"):format(seconds, place)
  return { seconds = math.max(seconds, 0.001), fn = fn, where = where, once = true }
end

---For tasks: starts a task that waits and then calls the function.
---@return integer? id
---@return string? message
---@return string? code
function M.later(seconds, fn)
  local problem = check_seconds("after", seconds, 0)
  if not problem and type(fn) ~= "function" then problem = "after: needs a function" end
  if problem then error(problem, 2) end
  return core.spawn(function()
    core.sleep(seconds)
    fn()
  end)
end

-- Waits for the next time and calls the function; the timer then starts this again.
local function run_cron(spec, in_zone, fn, where)
  local at = cron.next(spec, in_zone, core.now())
  repeat
    core.sleep(math.max(0.001, math.min(LOOK, at - core.now())))
  until core.now() >= at
  local began = core.time.clock()
  local counted <close> = setmetatable({}, {        -- luacheck: ignore 211
    __close = function(_, why) core.called("timer", where, core.time.clock() - began, why) end,
  })
  fn()
end

---@param place string
---@return lignum.Timer?
---@return string? problem
function M.cron(place, text, fn, options)
  local spec, problem = cron.read(text)
  if not spec then return nil, "cron: " .. problem end
  fn, problem = with_options("cron", fn, options)
  if not fn then return nil, problem end
  local name = options and options.zone or "UTC"
  local in_zone
  in_zone, problem = zone.load(name)
  if not in_zone then return nil, "cron: " .. problem end
  if not cron.next(spec, in_zone, core.now()) then return nil, ("cron: %q never comes"):format(text) end
  local where = ("cron %q %s at %s"):format(text, name, place)
  return { seconds = 0.001, uncounted = true, where = where, fn = function() run_cron(spec, in_zone, fn, where) end }
end

return M
