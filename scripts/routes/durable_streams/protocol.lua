--- Durable Streams: names, offsets, headers and errors of the protocol. What a stream is, is in state.lua.
local core = require "lignum.core"
local http = require "lignum.http"

local topic_name_max, format = core.limits.topic_name_max, string.format

local M = {}

M.PREFIX = "/v1/stream/"
M.RESERVED = "__ds"                -- paths that begin with this segment are no streams
M.TOPICS = "stream."              -- what the names of streams' topics begin with
M.CHUNK = 1 << 20                 -- bytes of one answer, about
local SAFE <const> = core.limits.json_integer_max
local PATH_MAX <const> = 2048     -- it is a label of the topic

-- Answers ----------------------------------------------------------------------------------------

---Adds the headers that all answers have.
---@param headers? table
---@return table headers
function M.dress(headers)
  headers = headers or {}
  headers["X-Content-Type-Options"] = "nosniff"
  headers["Cross-Origin-Resource-Policy"] = "cross-origin"
  return headers
end

---The headers of most appends, in one go.
---@param offset string
---@return table headers
function M.plain_headers(offset)
  return {
    ["Stream-Next-Offset"] = offset, ["X-Content-Type-Options"] = "nosniff",
    ["Cross-Origin-Resource-Policy"] = "cross-origin",
  }
end

---An answer that says why there is none of the other kind.
---@param code string
---@param why? string
---@param headers? table   further ones
---@param more? table      members of the problem
---@return integer status
---@return table body
---@return table headers
function M.fail(code, why, headers, more)
  if code == "unknown_topic" then code, why = "unknown_stream", nil end
  local status, body, all = http.fail(code, why, more)
  for name, value in pairs(headers or {}) do all[name] = value end
  all["Cache-Control"] = "no-store"
  return status, body, M.dress(all)
end

-- Names ------------------------------------------------------------------------------------------

---A character of a path in the name of a topic.
---@param c string
---@return string
function M.escape(c)
  return format("_%02x", c:byte())
end

---@param path string
---@return boolean
function M.is_reserved(path)
  return path:match("^[^/]*") == M.RESERVED
end

local names, name_count = {}, 0          -- [path] = name
local NAMES_KNOWN <const> = 20000

---The name of a stream's topic: the path with / as . and other characters as _XX. A long one is a digest, which no
---escaped path can be.
---@param path string
---@return string? name
function M.topic_name(path)
  local name = names[path]
  if name then return name end
  if path == "" or #path > PATH_MAX or M.is_reserved(path) then return nil end
  name = M.TOPICS .. path:gsub("[^%w%-/]", M.escape):gsub("/", ".")
  if #name > topic_name_max then
    name = M.TOPICS .. "_h" .. core.crypto.encode(core.crypto.sha256(path), "hex")
  end
  if name_count >= NAMES_KNOWN then names, name_count = {}, 0 end
  names[path], name_count = name, name_count + 1
  return name
end

---The path of the stream that a URL or an absolute path names; nil: it names none.
---@param text string
---@return string? path
function M.path_in(text)
  local path = text:match("^https?://[^/]+(/.*)$") or text
  if path:sub(1, #M.PREFIX) ~= M.PREFIX then return nil end
  return (path:sub(#M.PREFIX + 1):gsub("%%(%x%x)", function(x) return string.char(tonumber(x, 16)) end))
end

---The URL of a path, as the client of a request sees this node.
---@param req lignum.Request
---@param path string
---@return string
function M.url(req, path)
  local forwarded, scheme, host = req:header("x-forwarded-host", "x-forwarded-proto", "host")
  return (scheme or "http") .. "://" .. (forwarded or host or "localhost") .. path
end

-- Offsets ----------------------------------------------------------------------------------------

local BLOCK <const> = 1000
local low = {}                           -- [0] to [BLOCK - 1]: the last digits of a position
for i = 0, BLOCK - 1 do low[i] = format("%03d", i) end
local last_epoch, last_block, prefix     -- of the last offset: most are near the one before

---An offset as text: the epoch of the message before a position, and the position. As texts they sort as in the stream.
---@param epoch integer
---@param position integer
---@return string
function M.token(epoch, position)
  local block = position // BLOCK
  if epoch ~= last_epoch or block ~= last_block then
    last_epoch, last_block, prefix = epoch, block, format("%016d_%013d", epoch, block)
  end
  return prefix .. low[position % BLOCK]
end

---@param text string
---@return integer? epoch
---@return integer? position
function M.parse_token(text)
  local e, p = text:match("^(%d+)_(%d+)$")
  if not e or #e > 16 or #p > 16 then return nil end
  return math.tointeger(tonumber(e)), math.tointeger(tonumber(p))
end

local CURSOR_EPOCH <const> = 1728432000     -- 2024-10-09T00:00:00Z, by the protocol
local CURSOR_STEP <const> = 20

---The cursor by which caches tell apart the live requests of different times; always later than the client's.
---@param given? string
---@return string
function M.cursor_after(given)
  local current = math.floor((core.now() - CURSOR_EPOCH) / CURSOR_STEP)
  local n = given and given:find("^%d+$") and #given <= 15 and math.tointeger(tonumber(given))
  if not n or n < current then return tostring(current) end
  return tostring(n + math.random(1, 3600 // CURSOR_STEP))
end

-- Headers ----------------------------------------------------------------------------------------

---@param text string
---@return integer?
function M.number(text)
  if not text:find("^%d+$") or #text > 16 then return nil end
  local n = math.tointeger(tonumber(text))
  return n and n <= SAFE and n or nil
end

---A number of seconds or messages in a header: without sign, point or leading zero.
---@param text string
---@return boolean
function M.is_plain(text)
  return text == "0" or text:find("^[1-9]%d*$") ~= nil and #text <= 15
end

---@param text? string
---@return boolean
function M.is_true(text)
  return text ~= nil and text:lower() == "true"
end

M.media = http.media_type

return M
