--- The audit: who did what to topics, groups and tokens, in the internal topic _audit (doc/security.md, "Audit").
---
--- An entry never holds a body, a query or a header, where secrets are.
local core = require "lignum.core"

local json, clock = core.json, core.time.clock

local M = {}

local LINE_MAX <const> = 1000      -- bytes of a console's line
local PAUSE <const> = 1            -- seconds between two entries of refused requests

---Whether entries are written.
---@param setting boolean?   access.audit
---@return boolean
function M.is_on(setting)
  if setting ~= nil then return setting end
  return core.access.guarded()
end

local function note(entry)
  entry.node = core.node.info().name
  core.access.note(json.encode(entry))
end

local function who(req)
  if req.token then return "token " .. req.token end
  return req.user and "user " .. req.user or "anonymous"
end

local function describe(req, status)
  return {
    who = who(req), from = req.peer, via = req:header("lignum-forwarded"), did = req.method .. " " .. req.path,
    topic = req.topic, status = status,
  }
end

---Notes what a request has changed, or tried to.
---@param req lignum.Request
---@param status integer
---@param about string?   what it was about, besides its topic
function M.done(req, status, about)
  local entry = describe(req, status)
  entry.about = about
  note(entry)
end

local last, left_out = -math.huge, 0

---Notes a request that was refused: one a second, with the number of those that are left out before it.
---@param req lignum.Request
---@param status integer
function M.refused(req, status)
  if clock() - last < PAUSE then
    left_out = left_out + 1
    return
  end
  local entry = describe(req, status)
  if left_out > 0 then entry.left_out = left_out end
  last, left_out = clock(), 0
  note(entry)
end

---Notes a line of the console. What has the form of a secret is left out of it.
---@param text string
---@param outcome string
---@param by? string      who typed it; "console": whoever may open its socket
---@param from? string
function M.console(text, outcome, by, from)
  local line = text:gsub("lgn_[%w_-]+", "lgn_..."):gsub("%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x+", "...")
  if #line > LINE_MAX then line = line:sub(1, LINE_MAX) .. "..." end
  note { who = by or "console", from = from, did = line:gsub("[\x80-\xff]", "?"), outcome = outcome }
end

return M
