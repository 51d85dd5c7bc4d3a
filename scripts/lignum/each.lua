--- topic:each: the messages of a topic one by one.
local core = require "lignum.core"
local near = require "lignum.near"

local PAGE <const> = 1000
local OPTIONS <const> = { from = true, to = true, wait = true }

local function check(options)
  for name, value in pairs(options) do
    if not OPTIONS[name] then
      error(("topic:each: there is no option %s%s"):format(tostring(name), near.hint(name, near.names(OPTIONS))), 3)
    end
    local good = math.type(value) and value >= 0 and (name == "wait" or math.tointeger(value))
    if not good then error(("topic:each: %s must be a number of 0 or more"):format(name), 3) end
  end
end

---@param topic lignum.Topic
---@param options? { from?: integer, to?: integer, wait?: number }
---@return fun(): lignum.Message?
function core.Topic.each(topic, options)
  options = options or {}
  check(options)
  local from, batch, at = options.from, nil, 0

  -- Reads the next page. False at the end.
  local function turn_page()
    if batch then core.sleep(0) end
    if not from then
      local info, why, code = topic:info()
      if not info then error(("topic:each: %s (%s)"):format(why, code), 3) end
      from = info.first
    end
    local why, code
    batch, why, code = topic:read { from = from, to = options.to, limit = PAGE }
    if not batch then error(("topic:each: %s (%s)"):format(why, code), 3) end
    from, at = batch.next, 0
    return #batch > 0
  end

  return function()
    while not batch or at == #batch do
      if options.to and from and from >= options.to then return nil end
      if not turn_page() and not (options.wait and topic:wait(from, options.wait)) then return nil end
    end
    at = at + 1
    return batch[at]
  end
end
