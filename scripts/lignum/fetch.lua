--- fetch as lignum.lua has it: with retries of requests that may be repeated.
local core = require "lignum.core"

local M = {}

local TIMES_MAX <const> = 10
local PAUSE_FIRST <const>, PAUSE_MAX <const> = 0.1, 30      -- seconds
local SAFE <const> = { GET = true, HEAD = true, PUT = true, DELETE = true, OPTIONS = true }
local CODES <const> = { fetch_failed = true, timeout = true, busy = true }
local STATUSES <const> = { [429] = true, [502] = true, [503] = true, [504] = true }

-- Seconds until the next attempt: twice as long each time, less a part by chance; or what the server asks for.
local function pause_before(attempt, answer)
  local asked = answer and answer.headers["retry-after"]
  if asked and asked:find("^%d%d?%d?$") then return math.min(tonumber(asked), PAUSE_MAX) end
  local most = math.min(PAUSE_FIRST * 2 ^ (attempt - 1), PAUSE_MAX)
  return most * (0.5 + math.random() / 2)
end

---@param request lignum.Fetch
---@return table? answer
---@return string? message
---@return string? code
---@return boolean? unsent
function M.fetch(request)
  local times = type(request) == "table" and request.retry
  if not times then return core.fetch(request) end
  if math.type(times) ~= "integer" or times < 0 or times > TIMES_MAX then
    error(("fetch: retry must be a whole number from 0 to %d"):format(TIMES_MAX), 2)
  end
  local own, repeatable = {}, SAFE[request.method or (request.body and "POST" or "GET")]
  for name, value in pairs(request) do own[name] = value end
  own.retry = nil
  own.fresh = own.fresh or not repeatable      -- so that "unsent" can be told for certain
  for attempt = 1, times + 1 do
    local answer, why, code, unsent = core.fetch(own)
    local again = unsent or repeatable and (answer and STATUSES[answer.status] or CODES[code])
    if not again or attempt > times then return answer, why, code, unsent end
    core.sleep(pause_before(attempt, answer))
  end
end

return M
