--- Sends requests of subcommands again, where that is safe: to the next node of several, and after a pause.
local core = require "lignum.core"
local remote = require "lignum.remote"
local shell = require "lignum.shell"
local system = require "lignum.system"

local M = {}

local FOR <const> = 30                          -- seconds
local PAUSE <const>, PAUSE_MAX <const> = 0.1, 2

-- Whether a request may be sent again after this failure. `repeatable`: it does the same when it is done twice.
local function may_repeat(answer, code, repeatable)
  if not answer then return code == "unreachable" or repeatable and (code == "broken" or code == "timeout") end
  if answer.status < 429 then return false end
  local problem = remote.problem(answer)
  return problem.retryable == true and (repeatable or problem.appended == false)
end

---Calls `once`, which returns an answer or nil, why, code, until it succeeds, or fails in a way that another attempt
---cannot cure, or `seconds` are over.
---@param node table      turned to its next URL before each further attempt
---@param once fun(): table?, string?, string?
---@param repeatable boolean
---@param seconds? number
function M.attempts(node, once, repeatable, seconds)
  local deadline, pause = core.time.clock() + (seconds or FOR), PAUSE
  while true do
    local answer, why, code = once()
    if answer and answer.status < 300 or not may_repeat(answer, code, repeatable) or core.time.clock() > deadline then
      return answer, why, code
    end
    node:turn()
    system.sleep(pause)
    shell.check_interrupt()
    pause = math.min(pause * 2, PAUSE_MAX)
  end
end

---A POST that publishes. With a Producer-Id it is sent again even when its answer was lost.
---@param before fun(): string  put before the sentence of a failure
function M.publish(node, path, options, seconds, before)
  local repeatable = options.headers["Producer-Id"] ~= nil
  local answer, why, code = M.attempts(node, function() return node:try("POST", path, options) end, repeatable, seconds)
  if answer and answer.status < 300 then return answer end
  if not answer then
    if code == "interrupted" then shell.fail(130) end
    local unknown = not repeatable and code ~= "unreachable" and "; whether the next are is unknown" or ""
    shell.fail(69, "%s%s: %s%s", before(), node:url(), why, unknown)
  end
  remote.refuse(answer, before())
end

return M
