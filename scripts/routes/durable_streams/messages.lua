--- Durable Streams: the messages in a body. Of a JSON stream each element of an array is one, of others the body is,
--- in pieces of the size that a message may have.
local core = require "lignum.core"
local http = require "lignum.http"
local protocol = require "routes.durable_streams.protocol"
local publish = require "lignum.publish"

local json = core.json

local M = {}

local PAYLOAD_MAX <const> = core.limits.payload_size_max

-- on_publish has changed the messages of a JSON stream.
local function check_changed(before, after)
  for i, m in ipairs(after) do
    if m.payload ~= before[i] then
      local values = json.split(m.payload)
      if not values or #values ~= 1 or m.payload:find("^%s*%[") then
        publish.complain("must leave each message of a JSON stream one JSON value, and no array")
      end
    end
  end
end

local function pieces(body)
  local list = {}
  for at = 1, #body, PAYLOAD_MAX do list[#list + 1] = body:sub(at, at + PAYLOAD_MAX - 1) end
  return list
end

---The messages of a request to a stream, as on_publish leaves them.
---@param req lignum.Request
---@param name string      of the stream's topic
---@param type string      the stream's content type
---@param coding? string   Content-Encoding
---@return (string|lignum.Message)[]? list
---@return string? message
---@return string? code
---@return table? more
function M.of(req, name, type, coding)
  local body = req.body
  if body == "" then return {} end
  local problem = coding and http.encoded(coding)
  if problem then return nil, problem, "unsupported_media" end
  local is_json = protocol.media(type) == "application/json"
  local list, why, code, more
  if is_json then list, why, code, more = json.split(body) else list = pieces(body) end
  if not list or #list == 0 then return list, why, code, more end
  local shown
  shown, why, code, more = publish.show(name, list, req)
  if not shown then return nil, why, code, more end
  if is_json and shown ~= list then check_changed(list, shown) end
  return shown
end

return M
