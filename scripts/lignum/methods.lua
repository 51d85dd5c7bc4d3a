--- Methods of the core's objects that are written in Lua, in both worlds.
local core = require "lignum.core"
local http = require "lignum.http"

local M = {}

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

  function core.Topic.append(topic, what, options)
    return how.append(topic, what, options)
  end

  function core.Request.json(req, shape)
    local value, why, code, more = http.decode_object(req.body, shape)
    return value, why, code, more
  end
end

return M
