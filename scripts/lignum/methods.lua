--- Methods of the core's objects that are written in Lua, in both worlds.
local core = require "lignum.core"
local http = require "lignum.http"
local leader = require "lignum.leader"

local follows = core.cluster.follows

local M = {}

-- Methods of topics that change something in the cluster: a follower has its leader do it.
local CHANGES <const>, CHANGE <const> = { "create", "set", "delete" }, { seconds = 30, shows = "_topics" }

local function on_leader(verb)
  local own, call = core.Topic[verb], "topic_" .. verb
  leader.serve(call, function(name, ...) return own(core.topic(name), ...) end)
  core.Topic[verb] = function(topic, ...)
    if not follows() then return own(topic, ...) end
    return leader.call(call, CHANGE, topic.name, ...)
  end
end

---Adds them. core.append is what the core's own code uses: the first append to a missing topic creates it, which costs
---other appends one comparison. topic:append, which scripts use, also asks on_publish.
---@param how { create: function, append: function }   as policy.create; as publish.append
function M.add(how)
  local append = core.Topic.append

  function core.append(topic, what, options)
    local first, count, epoch, more = append(topic, what, options)
    if first or epoch ~= "unknown_topic" then return first, count, epoch, more end

    local ok, why, code = how.create(topic.name)
    if not ok then return nil, why, code end
    return append(topic, what, options)
  end

  leader.serve("append", function(name, what, options) return core.append(core.topic(name), what, options) end)
  for _, verb in ipairs(CHANGES) do on_leader(verb) end

  function core.Topic.append(topic, what, options)
    return how.append(topic, what, options)
  end

  function core.Request.json(req, shape)
    local value, why, code, more = http.decode_object(req.body, shape)
    return value, why, code, more
  end
end

return M
